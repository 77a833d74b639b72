internal import ComparedKicks
import KVM
import LinuxSupport
import MachineRuntime

/// Makes the VMs that are compared, of either side, on this host.
package struct TestBed {
  private let system: KVMSystem
  private let host: BareHost
  /// What clones are made from, by case: made once, as a pool does it.
  private let templates = TemplateCache()
  static let memoryMiB = 2

  init() throws(BenchmarkError) {
    do throws(KVMUnavailable) { system = try KVMSystem() } catch { throw .unavailable(error) }
    host = try BareHost()
  }

  func bareVM(
    _ guest: BenchmarkGuest, vcpus: Int = 1, mechanism: ComparedMechanism
  ) throws(BenchmarkError) -> BareVM {
    try host.create(guest, vcpus: vcpus, memoryMiB: Self.memoryMiB, mechanism: mechanism)
  }

  func machine(
    _ guest: BenchmarkGuest, vcpus: Int = 1, mechanism: ComparedMechanism
  ) throws(BenchmarkError) -> MachineVM {
    let configuration = MachineConfiguration(
      image: guest.image, vcpus: vcpus, memoryMiB: Self.memoryMiB, mechanism: mechanism.shipped,
      hasIRQChip: guest.hasIRQChip, entry: mechanism.entry)
    let machine: Machine
    do throws(MachineCreationError) { machine = try Machine(configuration, on: system) } catch {
      throw .creation(error)
    }
    return try MachineVM(machine)
  }
}

extension TestBed {
  /// What both sides clone for `subject`.
  func templates(_ subject: BenchmarkCase.Subject) throws(BenchmarkError) -> CloneTemplates {
    if let templates = templates[subject] { return templates }
    let made = try CloneTemplates(subject, system, host)
    templates[subject] = made
    return made
  }
}

/// Spins, so that the caller's processor stays awake.
func spin(forNS duration: UInt64) {
  let end = MonotonicClock.now() + duration
  while MonotonicClock.now() < end {}
}

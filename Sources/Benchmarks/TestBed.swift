import GuestImages
import KVM
import LinuxSupport
import MachineRuntime
import VCPURuntime

/// The host as both sides of a comparison see it, and a VM of each to compare.
struct TestBed {
  private let system: KVMSystem
  private let host: BareHost
  let mechanism: KickMechanism
  /// A guest of 1 vCPU and 2 MiB.
  static let memoryMiB = 2

  init(mechanism: KickMechanism) throws(BenchmarkError) {
    do throws(KVMUnavailable) { system = try KVMSystem() } catch { throw .unavailable(error) }
    host = try BareHost()
    self.mechanism = mechanism
  }

  func bareVM(_ guest: BuiltinGuest) throws(BenchmarkError) -> BareVM {
    try host.create(guest, memoryMiB: Self.memoryMiB, mechanism: mechanism)
  }

  func machine(_ guest: BuiltinGuest) throws(BenchmarkError) -> Machine {
    let configuration = MachineConfiguration(
      image: .builtin(guest), vcpus: 1, memoryMiB: Self.memoryMiB, mechanism: mechanism)
    do throws(MachineCreationError) {
      return try Machine(configuration, on: system)
    } catch { throw .creation(error) }
  }

  static func guest(_ name: String) -> BuiltinGuest {
    guard let guest = BuiltinGuest.named(name) else { preconditionFailure("there is no built-in guest \(name)") }
    return guest
  }
}

extension Machine {
  private static var deadline: UInt64 { MonotonicClock.now() + 10_000_000_000 }

  /// Brings the VM into the guest, or out of it.
  func setRunning(_ running: Bool) throws(BenchmarkError) {
    do throws(MachineControlError) {
      switch (running, state) {
      case (true, .ready): try start(untilNS: Self.deadline)
      case (true, _): try resume(untilNS: Self.deadline)
      case (false, _): try pause(untilNS: Self.deadline)
      }
    } catch { throw .control(error) }
  }

  func firstVCPU() throws(BenchmarkError) -> VCPU {
    do throws(MachineControlError) { return try vcpu(0) } catch { throw .control(error) }
  }
}

/// Spins, so that the caller's processor stays awake.
func spin(forNS duration: UInt64) {
  let end = MonotonicClock.now() + duration
  while MonotonicClock.now() < end {}
}

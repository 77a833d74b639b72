internal import ComparedKicks
import GuestImages
import KVM
import LinuxSupport
import MachineRuntime

/// What both sides clone: the same VM, frozen before its guest has run.
struct CloneTemplates {
  let bare: BareTemplate
  let vmpool: MachineTemplate
  private let system: KVMSystem
  private let mechanism: ComparedMechanism

  init(_ subject: BenchmarkCase.Subject, _ system: KVMSystem, _ host: BareHost) throws(BenchmarkError) {
    self.system = system
    guard let mechanism = ComparedMechanism(rawValue: subject.mechanism) else {
      preconditionFailure("there is no mechanism \(subject.mechanism)")
    }
    self.mechanism = mechanism
    let code = TouchGuest.code(pages: subject.dirtyPages ?? 0)
    let memoryMiB = subject.memoryMiB ?? TestBed.memoryMiB
    let vm = try host.create(code, ring: 3, memoryMiB: memoryMiB, mechanism: mechanism)
    defer { vm.destroy() }
    bare = try host.freeze(vm)
    let configuration = MachineConfiguration(
      image: .flat(FlatImage(mode: .long64Ring3, code: code)), vcpus: 1, memoryMiB: memoryMiB,
      mechanism: mechanism.shipped, entry: mechanism.entry)
    let machine: Machine
    do throws(MachineCreationError) { machine = try Machine(configuration, on: system) } catch {
      throw .creation(error)
    }
    defer { machine.destroy() }
    do throws(MachineTemplateError) {
      vmpool = try machine.freeze(untilNS: MonotonicClock.now() + MachineClone.patienceNS)
    } catch { throw .template(error) }
  }

  func bareClone() throws(BenchmarkError) -> BareVM { try bare.clone(mechanism: mechanism) }

  func clone() throws(BenchmarkError) -> MachineClone { try MachineClone(of: vmpool, on: system) }
}

/// The templates of a run. Its thread alone uses them.
final class TemplateCache {
  private var templates: [BenchmarkCase.Subject: CloneTemplates] = [:]

  subscript(subject: BenchmarkCase.Subject) -> CloneTemplates? {
    get { templates[subject] }
    set { templates[subject] = newValue }
  }
}

/// A clone of either side, whose guest runs until it ends.
protocol BenchmarkClone {
  /// Lets the guest run, and waits for its end.
  func run() throws(BenchmarkError)
  /// Puts it back to its template; returns how many pages that were.
  func reset() throws(BenchmarkError) -> Int
  /// Unmakes it. Once, at the end.
  func destroy()
}

extension BareVM: BenchmarkClone {
  func run() throws(BenchmarkError) {
    try start()
    try awaitEnd()
  }
}

/// This server's side: a clone of a template.
struct MachineClone: BenchmarkClone {
  fileprivate static let patienceNS: UInt64 = 10_000_000_000
  private let machine: Machine
  private let ended = CountingSemaphore()

  fileprivate init(of template: MachineTemplate, on system: KVMSystem) throws(BenchmarkError) {
    do throws(MachineCreationError) {
      machine = try Machine(cloning: template, on: system) { [ended] state in
        if case .stopped = state { ended.signal() }
      }
    } catch { throw .creation(error) }
  }

  func run() throws(BenchmarkError) {
    let deadline = MonotonicClock.now() + Self.patienceNS
    do throws(MachineControlError) { try machine.start(untilNS: deadline) } catch { throw .control(error) }
    guard ended.wait(untilNS: deadline) else { throw .clone("its guest did not end in 10 s") }
  }

  func reset() throws(BenchmarkError) -> Int {
    do throws(MachineTemplateError) {
      return try machine.reset()
    } catch { throw .template(error) }
  }

  func destroy() { machine.destroy() }
}

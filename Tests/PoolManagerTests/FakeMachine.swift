import Devices
import Dispatch
import GuestImages
import KVM
import MachineRuntime
import PoolManager
import Synchronization
import VCPURuntime

/// Makes machines without KVM, which stop when they are asked to, or hang until the test lets them go.
final class FakeFactory: MachineFactory {
  private let machines = Mutex<[FakeMachine]>([])
  /// Whether machines that are made from now on hang when they are asked to stop.
  let hangs = Atomic(false)
  /// What machines that are made from now on print when they are started, and whether they then end.
  let output = Mutex("")
  let ends = Atomic(false)
  /// What the reset of a clone does that is made from now on.
  let reset = Mutex(Reset.works)
  private let destroyed: @Sendable () -> Void

  /// `destroyed` is called when a machine is.
  init(_ destroyed: @escaping @Sendable () -> Void) { self.destroyed = destroyed }

  func make(
    _ configuration: MachineConfiguration, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine {
    add(FakeMachine(configuration, self, isClone: false, changed, destroyed))
  }

  fileprivate func clone(
    _ configuration: MachineConfiguration, _ changed: @escaping @Sendable (MachineState) -> Void
  ) -> FakeMachine {
    add(FakeMachine(configuration, self, isClone: true, changed, destroyed))
  }

  private func add(_ machine: FakeMachine) -> FakeMachine {
    machines.withLock { $0.append(machine) }
    return machine
  }

  enum Reset: Sendable {
    case works
    case fails
    case differs([String])
    /// It works when the test lets it.
    case waits(DispatchSemaphore)
  }

  /// All that were made, the oldest first.
  var made: [FakeMachine] { machines.withLock { $0 } }
}

final class FakeTemplate: ManagedTemplate {
  private let configuration: MachineConfiguration
  private let factory: FakeFactory
  let storedBytes: UInt64 = 4096

  init(_ configuration: MachineConfiguration, _ factory: FakeFactory) {
    self.configuration = configuration
    self.factory = factory
  }

  func clone(
    name: String, deadlineNS: UInt64?, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine {
    factory.clone(configuration, changed)
  }
}

final class FakeMachine: ManagedMachine {
  private let factory: FakeFactory
  let isClone: Bool
  private let output: String
  private let ends: Bool
  private let resetKind: FakeFactory.Reset
  /// How often it was reset, and compared with its template.
  let resets = Atomic(0)
  let comparisons = Atomic(0)
  /// Called while a client's input is on its way to it.
  let onInput = Mutex<(@Sendable () -> Void)?>(nil)
  /// Whether it keeps to itself that it has stopped, until `announce`.
  let isSilent = Atomic(false)
  /// Whether it was reset before it was announced that it had stopped.
  let wasResetEarly = Atomic(false)
  private let unannounced = Mutex<MachineState?>(nil)
  let configuration: MachineConfiguration
  let console = Console()
  private let changed: @Sendable (MachineState) -> Void
  private let current = Mutex(MachineState.ready)
  private let hangs: Atomic<Bool>
  private let hasBeenDestroyed = Atomic(false)
  private let destroyed: @Sendable () -> Void
  /// What was written into its memory.
  let told = Mutex<[GuestArguments]>([])

  init(
    _ configuration: MachineConfiguration, _ factory: FakeFactory, isClone: Bool,
    _ changed: @escaping @Sendable (MachineState) -> Void, _ destroyed: @escaping @Sendable () -> Void
  ) {
    self.factory = factory
    self.isClone = isClone
    output = factory.output.withLock { $0 }
    ends = factory.ends.load(ordering: .relaxed)
    resetKind = factory.reset.withLock { $0 }
    self.destroyed = destroyed
    self.configuration = configuration
    hangs = Atomic(factory.hangs.load(ordering: .relaxed))
    self.changed = changed
  }

  var isDestroyed: Bool { hasBeenDestroyed.load(ordering: .relaxed) }

  /// From now on it does not stop when it is asked to.
  func hang() { hangs.store(true, ordering: .relaxed) }

  /// Lets a machine that hangs stop at last.
  func letGo() {
    hangs.store(false, ordering: .relaxed)
    enter(.stopped(.killed))
  }

  private func enter(_ state: MachineState) {
    let isNew = current.withLock { current in
      defer { current = state }
      return current != state
    }
    guard isNew else { return }
    if case .stopped = state, isSilent.load(ordering: .relaxed) { return unannounced.withLock { $0 = state } }
    changed(state)
  }

  /// Says what it has kept to itself.
  func announce() {
    isSilent.store(false, ordering: .relaxed)
    if let state = unannounced.withLock({ $0.take() }) { changed(state) }
  }

  var state: MachineState { current.withLock { $0 } }
  func setArguments(_ arguments: GuestArguments) throws(MachineControlError) { told.withLock { $0.append(arguments) } }
  func start(limitNS: UInt64?, untilNS: UInt64) throws(MachineControlError) {
    enter(.running)
    console.append(Array(output.utf8))
    if ends { enter(.stopped(.guest(.exited(code: 0)))) }
  }
  func startAsleep() throws(MachineControlError) -> PendingWake {
    enter(.running)
    return PendingWake {}
  }
  func pause(untilNS: UInt64) throws(MachineControlError) { enter(.paused) }
  func resume(untilNS: UInt64) throws(MachineControlError) { enter(.running) }
  func stop(_ reason: MachineStop, untilNS: UInt64) throws(MachineControlError) {
    if hangs.load(ordering: .relaxed) { throw .timedOut(waitedNS: 0) }
    enter(.stopped(reason))
  }
  func requestStart(limitNS: UInt64?) throws(MachineControlError) -> PendingRequests {
    enter(.running)
    return .none
  }
  func requestPause() throws(MachineControlError) -> PendingRequests {
    enter(.paused)
    return .none
  }
  func requestResume() throws(MachineControlError) -> PendingRequests { try requestStart(limitNS: nil) }
  func requestStop(_ reason: MachineStop) throws(MachineControlError) -> PendingRequests {
    if !hangs.load(ordering: .relaxed) { enter(.stopped(reason)) }
    return .none
  }
  func requestKicks(vcpu: Int?) throws(MachineControlError) -> PendingKicks { throw .failed("it has no vCPUs") }
  func requestRegisters(vcpu: Int) throws(MachineControlError) -> PendingRegisters {
    throw .failed("it has no vCPUs")
  }
  func statistics(of index: Int) throws(MachineControlError) -> VCPUStatistics {
    throw .noSuchVCPU(index: index, count: 0)
  }
  var vcpuStatistics: [VCPUStatistics] { [] }
  var counts: VCPUCounts { VCPUCounts() }
  var residentBytes: Int { 0 }
  func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int {
    onInput.withLock { $0 }?()
    return console.offer(bytes)
  }
  func makeTemplate(untilNS: UInt64) throws(MachineTemplateError) -> any ManagedTemplate {
    guard state == .paused else { throw .control(.invalidState(operation: "freeze", state)) }
    return FakeTemplate(configuration, factory)
  }
  func reset() throws(MachineTemplateError) -> Int {
    guard case .stopped = state, isClone else { throw .control(.invalidState(operation: "reset", state)) }
    if unannounced.withLock({ $0 }) != nil { wasResetEarly.store(true, ordering: .relaxed) }
    switch resetKind {
    case .works, .differs: break
    case .fails: throw .vcpuHasHalted
    case .waits(let semaphore): semaphore.wait()
    }
    resets.add(1, ordering: .relaxed)
    console.reset()
    told.withLock { $0 = [] }
    enter(.ready)
    return 3
  }
  func differences(untilNS: UInt64) throws(MachineTemplateError) -> [String] {
    comparisons.add(1, ordering: .relaxed)
    return if case .differs(let found) = resetKind { found } else { [] }
  }
  func destroy() {
    hasBeenDestroyed.store(true, ordering: .relaxed)
    destroyed()
  }
}

/// A journal that fails when the test says so, and remembers what it recorded.
final class FakeJournal: LeaseJournal {
  let fails = Atomic(false)
  let hasRoom = Atomic(true)
  let records = Mutex<[String]>([])

  var isFailing: Bool { fails.load(ordering: .relaxed) }
  var canRecord: Bool { hasRoom.load(ordering: .relaxed) }

  func id(ofLease number: UInt64) -> String { "lease-\(number)" }

  private func record(_ what: String) throws(JournalFailure) {
    if fails.load(ordering: .relaxed) { throw JournalFailure("the disk is full") }
    records.withLock { $0.append(what) }
  }

  func granted(_ lease: Lease, by origin: Origin) throws(JournalFailure) { try record("granted \(lease.id)") }
  func extended(_ lease: Lease, by origin: Origin) throws(JournalFailure) { try record("extended \(lease.id)") }
  func end(of id: String) throws(JournalFailure) -> PastLease? { nil }
  func ended(_ leases: [EndedLease]) throws(JournalFailure) -> [String] {
    for lease in leases { try record("\(lease.end.rawValue) \(lease.id)") }
    return []
  }
}

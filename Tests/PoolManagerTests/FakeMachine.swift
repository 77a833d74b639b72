import Devices
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
  private let destroyed: @Sendable () -> Void

  /// `destroyed` is called when a machine is.
  init(_ destroyed: @escaping @Sendable () -> Void) { self.destroyed = destroyed }

  func make(
    _ configuration: MachineConfiguration, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine {
    let machine = FakeMachine(configuration, hangs: hangs.load(ordering: .relaxed), changed, destroyed)
    machines.withLock { $0.append(machine) }
    return machine
  }

  /// All that were made, the oldest first.
  var made: [FakeMachine] { machines.withLock { $0 } }
}

final class FakeMachine: ManagedMachine {
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
    _ configuration: MachineConfiguration, hangs: Bool, _ changed: @escaping @Sendable (MachineState) -> Void,
    _ destroyed: @escaping @Sendable () -> Void
  ) {
    self.destroyed = destroyed
    self.configuration = configuration
    self.hangs = Atomic(hangs)
    self.changed = changed
  }

  var isDestroyed: Bool { hasBeenDestroyed.load(ordering: .relaxed) }

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
    if isNew { changed(state) }
  }

  var state: MachineState { current.withLock { $0 } }
  func tell(_ arguments: GuestArguments) throws(MachineControlError) { told.withLock { $0.append(arguments) } }
  func start(limitNS: UInt64?, untilNS: UInt64) throws(MachineControlError) { enter(.running) }
  func startAsleep() throws(MachineControlError) -> OwedWake {
    enter(.running)
    return OwedWake {}
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
  func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int { console.offer(bytes) }
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

  private func record(_ what: String) throws(JournalFailure) {
    if fails.load(ordering: .relaxed) { throw JournalFailure("the disk is full") }
    records.withLock { $0.append(what) }
  }

  func granted(_ lease: Lease, by origin: Origin) throws(JournalFailure) { try record("granted \(lease.id)") }
  func extended(_ lease: Lease, by origin: Origin) throws(JournalFailure) { try record("extended \(lease.id)") }
  func end(of id: String) throws(JournalFailure) -> LeaseEnd? { nil }
  func ended(_ leases: [EndedLease]) throws(JournalFailure) -> [String] {
    for lease in leases { try record("\(lease.end.rawValue) \(lease.id)") }
    return []
  }
}

import Devices
import GuestImages
import MachineRuntime
import Synchronization
import VCPURuntime

/// A VM's machine as those see it who know the VM by its id: from where it was made or reset to where it is reset.
///
/// A machine that is reset goes on as another VM, with another id. This object then shows what the machine was in the end, and
/// refuses the rest as `deleted`. So a request that found the VM while it was its client's never reaches the next client's
/// guest. Any thread.
public final class TenantMachine: Sendable {
  /// For its owner, the fleet, which may act on it between two tenants.
  let whole: any ManagedMachine
  /// What it had counted before.
  private let before: Baseline
  /// Guards how far the tenure has come; a leaf lock. Neither the machine nor a closure is called under it.
  private let tenure = Mutex(Tenure())

  /// What a machine had counted when a tenure began.
  struct Baseline: Sendable {
    var counts = VCPUCounts()
    /// In the order of the vCPUs; empty where nothing had been counted.
    var vcpus: [VCPUStatistics] = []
  }

  private struct Tenure {
    /// Requests that are on their way to the machine.
    var underWay = 0
    var isClosed = false
    /// Called when the last of them has arrived.
    var whenIdle: (@Sendable () -> Void)?
    /// What is shown after its end.
    var remains: Remains?
  }

  private struct Remains {
    let state: MachineState
    let console: Console
    let counts: VCPUCounts
    let vcpus: [VCPUStatistics]
  }

  init(_ machine: any ManagedMachine, since before: Baseline) {
    whole = machine
    self.before = before
  }

  /// Refuses all requests from now on. Calls `whenIdle` once, on any thread, when none is on its way to the machine any more.
  func close(_ whenIdle: @escaping @Sendable () -> Void) {
    let isIdle = tenure.withLock { tenure in
      tenure.isClosed = true
      if tenure.underWay > 0 { tenure.whenIdle = whenIdle }
      return tenure.underWay == 0
    }
    if isIdle { whenIdle() }
  }

  /// Ends the tenure, of a machine that is closed, idle and stopped. Returns what the next one begins with.
  func end() -> Baseline {
    let baseline = Baseline(counts: whole.counts, vcpus: whole.vcpuStatistics)
    let console = Console()
    // A console takes over what another one has: it does not refuse that.
    try? console.restore(whole.console.save())
    let remains = Remains(
      state: whole.state, console: console, counts: baseline.counts.since(before.counts),
      vcpus: Self.since(before, baseline.vcpus))
    tenure.withLock { $0.remains = remains }
    return baseline
  }

  // MARK: Looking

  /// What it is made of.
  public var configuration: MachineConfiguration { whole.configuration }
  /// What it is.
  public var state: MachineState { look(whole.state, \.state) }
  /// What its vCPUs counted so far.
  public var counts: VCPUCounts { look(whole.counts.since(before.counts), \.counts) }
  /// What each vCPU does and has counted, in the order of their numbers.
  public var vcpuStatistics: [VCPUStatistics] { look(Self.since(before, whole.vcpuStatistics), \.vcpus) }
  /// Bytes of the host's memory that its guest holds.
  public var residentBytes: Int { look(whole.residentBytes) { _ in 0 } }
  /// How many bytes of output its guest has ever written.
  public var consoleBytes: UInt64 { look(whole.console.written) { $0.console.written } }

  /// Up to `limit` bytes of its guest's output from `offset` on; as `Console.read`.
  public func readConsole(from offset: UInt64, limit: Int) -> (bytes: [UInt8], start: UInt64, next: UInt64) {
    look(whole.console.read(from: offset, limit: limit)) { $0.console.read(from: offset, limit: limit) }
  }

  /// What vCPU `index` does, and what it has counted.
  public func statistics(of index: Int) throws(MachineControlError) -> VCPUStatistics {
    let all = vcpuStatistics
    guard !all.isEmpty else { throw .deleted }
    guard all.indices.contains(index) else { throw .noSuchVCPU(index: index, count: all.count) }
    return all[index]
  }

  /// What was read of the machine just now is this tenure's if the tenure has not ended since.
  private func look<Value>(_ current: Value, _ left: (Remains) -> Value) -> Value {
    tenure.withLock { $0.remains }.map(left) ?? current
  }

  private static func since(_ before: Baseline, _ vcpus: [VCPUStatistics]) -> [VCPUStatistics] {
    before.vcpus.count == vcpus.count ? zip(vcpus, before.vcpus).map { $0.since($1) } : vcpus
  }

  // MARK: Requests

  /// Writes the arguments into its guest's memory; as `ManagedMachine.setArguments`.
  public func setArguments(_ chosen: GuestArguments) throws(MachineControlError) {
    try request { machine throws(MachineControlError) in try machine.setArguments(chosen) }
  }

  /// `ready` → `running`; as `ManagedMachine.start`.
  public func start(limitNS: UInt64? = nil, untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try request { machine throws(MachineControlError) in try machine.start(limitNS: limitNS, untilNS: deadlineNS) }
  }

  /// `ready` → `running`, with its threads asleep; as `ManagedMachine.startAsleep`.
  public func startAsleep() throws(MachineControlError) -> PendingWake {
    try request { machine throws(MachineControlError) in try machine.startAsleep() }
  }

  /// `ready` → `running`, without waiting.
  public func requestStart(limitNS: UInt64? = nil) throws(MachineControlError) -> PendingRequests {
    try request { machine throws(MachineControlError) in try machine.requestStart(limitNS: limitNS) }
  }

  /// `running` → `paused`, without waiting.
  public func requestPause() throws(MachineControlError) -> PendingRequests {
    try request { machine throws(MachineControlError) in try machine.requestPause() }
  }

  /// `paused` → `running`, without waiting.
  public func requestResume() throws(MachineControlError) -> PendingRequests {
    try request { machine throws(MachineControlError) in try machine.requestResume() }
  }

  /// Any state → `stopped`, without waiting.
  public func requestStop(_ reason: MachineStop = .killed) throws(MachineControlError) -> PendingRequests {
    try request { machine throws(MachineControlError) in try machine.requestStop(reason) }
  }

  /// Publishes a kick to one vCPU, or to all (nil). Does not wait, but is paced.
  public func requestKicks(vcpu index: Int?) throws(MachineControlError) -> PendingKicks {
    try request { machine throws(MachineControlError) in try machine.requestKicks(vcpu: index) }
  }

  /// Asks for the registers of a vCPU; as `ManagedMachine.requestRegisters`.
  public func requestRegisters(vcpu index: Int) throws(MachineControlError) -> PendingRegisters {
    try request { machine throws(MachineControlError) in try machine.requestRegisters(vcpu: index) }
  }

  /// Gives the guest input; returns how many bytes fitted.
  public func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int {
    try request { machine throws(MachineControlError) in try machine.offerInput(bytes) }
  }

  /// While `body` runs the tenure does not end. Not under the lock, since the machine may call those who watch the VM.
  private func request<Value>(
    _ body: (any ManagedMachine) throws(MachineControlError) -> Value
  ) throws(MachineControlError) -> Value {
    let isTenant = tenure.withLock { tenure in
      guard !tenure.isClosed else { return false }
      tenure.underWay += 1
      return true
    }
    guard isTenant else { throw .deleted }
    defer {
      let whenIdle = tenure.withLock { tenure in
        tenure.underWay -= 1
        return tenure.underWay == 0 ? tenure.whenIdle.take() : nil
      }
      whenIdle?()
    }
    return try body(whole)
  }
}

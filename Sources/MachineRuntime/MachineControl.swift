import Devices
import GuestImages
import GuestMemory
import KVM
import LinuxSupport
import VCPURuntime

// What is asked of a VM that has been made: to start, to stand still, to end; kicks; a look; input; arguments.

extension Machine {
  // MARK: Lifecycle

  /// What it is.
  public var state: MachineState { core.state }

  /// Writes the arguments into the guest's memory, which is loaded already. In state `ready`, by the caller that starts it,
  /// before that. A clone of a VM that had been started takes nothing: its guest has read its arguments.
  public func setArguments(_ chosen: GuestArguments) throws(MachineControlError) {
    if template?.hasStarted == true, let refusal = chosen.refusalAfterStart { throw .arguments(refusal) }
    let segments: [GuestSegment]
    do throws(GuestArgumentsError) {
      segments = try arguments.segments(for: chosen)
    } catch { throw .arguments(error) }
    let isReady: Bool
    do throws(MachineCreationError) {
      isReady = try core.put(segments)
    } catch { throw .failed("\(error)") }
    guard isReady else { throw .invalidState(operation: "set the arguments of", state) }
  }

  // Each operation comes in two forms. `request…` publishes it, once, and returns what is left to wait for. The other form
  // does that and waits until `deadlineNS` (CLOCK_MONOTONIC).

  /// `ready` → `running`. Stops the VM (as `deadline`) in `limitNS`, or when its configuration says (nil).
  public func start(limitNS: UInt64? = nil, untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try requestStart(limitNS: limitNS).wait(untilNS: deadlineNS)
  }

  /// `ready` → `running`. Stops the VM (as `deadline`) in `limitNS`, or when its configuration says (nil).
  public func requestStart(limitNS: UInt64? = nil) throws(MachineControlError) -> PendingRequests {
    try begin(limitNS, wakes: true)
  }

  /// Starts the VM but leaves its threads asleep. Deliver the returned wake soon: all that is asked of the VM meanwhile
  /// waits for it.
  public func startAsleep() throws(MachineControlError) -> PendingWake {
    _ = try begin(nil, wakes: false)
    return PendingWake { [core] in core.wake() }
  }

  private func begin(_ limitNS: UInt64?, wakes: Bool) throws(MachineControlError) -> PendingRequests {
    let (requests, run) = try publish(.start, "start", wakes: wakes)
    // A start that is not acknowledged in time is a start all the same. Only the first of a run counts.
    if let limit = limitNS ?? configuration.deadlineNS {
      run.deadline.arm(afterNS: limit) { [weak core, number = run.number] in _ = core?.on(.deadline(run: number)) }
    }
    return requests
  }

  /// `running` → `paused`: every vCPU parked between two instructions of the guest.
  ///
  /// The guest's clocks go on: its time stamp counter and kvmclock, and so the time of day. When it runs again,
  /// KVM_KVMCLOCK_CTRL has its kernel know that it stood still, so that its watchdogs do not take the pause for a lockup.
  public func pause(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try requestPause().wait(untilNS: deadlineNS)
  }

  /// `running` → `paused`.
  public func requestPause() throws(MachineControlError) -> PendingRequests { try request(.pause, "pause") }

  /// `paused` → `running`.
  public func resume(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try requestResume().wait(untilNS: deadlineNS)
  }

  /// `paused` → `running`.
  public func requestResume() throws(MachineControlError) -> PendingRequests { try request(.resume, "resume") }

  /// Any state → `stopped`. The first reason to stop counts.
  public func stop(_ reason: MachineStop = .killed, untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try requestStop(reason).wait(untilNS: deadlineNS)
  }

  /// Any state → `stopped`. The first reason to stop counts.
  public func requestStop(_ reason: MachineStop = .killed) throws(MachineControlError) -> PendingRequests {
    try request(.stop(reason), "stop")
  }

  /// `stopped` → `ready`, for another run of the same vCPUs. Before it, the caller has put back what the guest changed.
  func requestReset() throws(MachineControlError) -> PendingRequests { try request(.reset, "reset") }

  private func request(
    _ event: Lifecycle.Event, _ operation: String
  ) throws(MachineControlError) -> PendingRequests {
    try publish(event, operation, wakes: true).0
  }

  private func publish(
    _ event: Lifecycle.Event, _ operation: String, wakes: Bool
  ) throws(MachineControlError) -> (PendingRequests, MachineCore.Run) {
    switch core.on(event, wakes: wakes) {
    case .refused(let state, let isStopping):
      throw .invalidState(operation: operation, state, isStopping: isStopping)
    case .pending(let requests, let run): return (requests, run)
    }
  }

  /// Stops the VM, joins its threads, closes its descriptors and frees its memory. By its owner, once; after it has
  /// returned nothing of the VM is left but its console and its counts.
  public func destroy() {
    core.on(.destroy)
    core.run.deadline.cancel()
    let vcpus = core.vcpus
    for vcpu in vcpus { vcpu.join() }
    core.release()
    vm.withLock { $0 = nil }
    core.devices.release()
    core.guest.unmap()
  }

  // MARK: Kicks

  /// Publishes a kick to one vCPU, or to all (nil), and signals them. Does not wait.
  public func requestKicks(vcpu index: Int?) throws(MachineControlError) -> PendingKicks {
    if case .stopped = state { throw .invalidState(operation: "kick", state) }
    let targets = try index.map { index throws(MachineControlError) in [try vcpu(index)] } ?? core.vcpus
    let start = MonotonicClock.now()
    var requests: [PendingRequest] = []
    for vcpu in targets {
      do throws(KickError) {
        requests.append(PendingRequest(vcpu: vcpu, ticket: .success(try vcpu.request())))
      } catch {
        // Only a vCPU that has ended refuses a request.
        throw .deleted
      }
    }
    return PendingKicks(requests: requests, requestedAtNS: start)
  }

  // MARK: Looking

  /// The registers of a vCPU of a paused or stopped VM. Waits until `deadlineNS` (CLOCK_MONOTONIC).
  public func registers(
    vcpu index: Int, untilNS deadlineNS: UInt64
  ) throws(MachineControlError) -> (GeneralRegisters, SpecialRegisters) {
    try requestRegisters(vcpu: index).wait(untilNS: deadlineNS)
  }

  /// Asks for the registers of a vCPU of a paused or stopped VM. Its own thread reads them, after it has served what was
  /// asked of it before.
  public func requestRegisters(vcpu index: Int) throws(MachineControlError) -> PendingRegisters {
    switch core.requestRegisters(of: try vcpu(index)) {
    case .pending(let requested): return PendingRegisters(requested)
    case .refused(let state): throw .invalidState(operation: Self.readRegisters, state)
    case .ended: throw .deleted
    }
  }

  static let readRegisters = "read the registers of"

  /// What vCPU `index` does, and what it has counted.
  public func statistics(of index: Int) throws(MachineControlError) -> VCPUStatistics {
    Self.statistics(of: try vcpu(index))
  }

  /// The same of every vCPU, in the order of their numbers.
  public var vcpuStatistics: [VCPUStatistics] { core.vcpus.map(Self.statistics) }

  /// Bytes of the host's memory that its guest holds: of its memory what was touched, and what it wrote to disks. A clone
  /// shares those that it has not written with its template. The kernel looks at each page: some 0.3 ms for 1 GiB.
  public var residentBytes: Int { memory.residentBytes + (devices.overlay?.residentBytes ?? 0) }

  private static func statistics(of vcpu: VCPU) -> VCPUStatistics {
    let counts = vcpu.counts
    return VCPUStatistics(
      index: vcpu.index, state: vcpu.state, exits: counts.exits, kicks: counts.kicks, kernel: vcpu.kernelStatistics,
      runningNS: counts.runningNS, waitingNS: counts.waitingNS)
  }

  /// What its vCPUs counted so far; after `destroy`, in the end.
  public var counts: VCPUCounts { core.counts }

  // MARK: Console

  /// Gives the guest input; returns how many bytes fitted.
  public func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int {
    if case .stopped = state { throw .invalidState(operation: "write to the console of", state) }
    let taken = console.offer(bytes)
    core.notifyInput()
    return taken
  }

  /// Its memory, for tests; empty once it is destroyed.
  package var memory: GuestRAM { core.guest }
  /// Its devices, for tests.
  var devices: MachineDevices { core.devices }

  /// One of its vCPUs, for benchmarks that measure kicks alone.
  package func vcpu(_ index: Int) throws(MachineControlError) -> VCPU {
    let vcpus = core.vcpus
    guard !vcpus.isEmpty else { throw .deleted }
    guard vcpus.indices.contains(index) else { throw .noSuchVCPU(index: index, count: vcpus.count) }
    return vcpus[index]
  }
}

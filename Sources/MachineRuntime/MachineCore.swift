import Devices
import GuestImages
import GuestMemory
import KVM
import LinuxSupport
import Synchronization
import VCPURuntime

/// What a VM's vCPU threads see of it: its buses and its lifecycle.
///
/// The vCPUs hold this object and it holds them; `release` breaks the circle once they are joined.
final class MachineCore: ExitHandler {
  /// A run of the guest, which ends when its deadline passes.
  struct Run: Sendable {
    let number: UInt64
    let deadline = DeadlineTimer()
  }

  private struct Guarded {
    var lifecycle: Lifecycle
    var run = Run(number: 0)
    var vcpus: [VCPU] = []
    var finalCounts = VCPUCounts()
    /// States to be announced, the oldest first, and whether a thread is announcing them.
    var announcements: [MachineState] = []
    var isAnnouncing = false
    /// The requests that set the last goal: an event that changes nothing waits for these.
    var goal = PendingRequests.none
    /// How many goals were set.
    var goals: UInt64 = 0
  }

  let devices: MachineDevices
  /// Its memory, for its devices and for descriptions of what its vCPUs could not execute.
  let guest: GuestRAM
  /// How the guest ended, where a device ended it: the first counts. A leaf lock.
  private let ended = Mutex<VCPUEnd?>(nil)
  private let changed: @Sendable (MachineState) -> Void
  /// Guards the lifecycle and the order in which goals are published. Held while goals are published, which sends
  /// signals but waits for nothing; never held while waiting for a vCPU. The locks of `VCPU` are taken under it.
  private let guarded: Mutex<Guarded>

  init(
    devices: MachineDevices, guest: GuestRAM, vcpus: Int, changed: @escaping @Sendable (MachineState) -> Void
  ) {
    self.devices = devices
    self.guest = guest
    self.changed = changed
    guarded = Mutex(Guarded(lifecycle: Lifecycle(vcpus: vcpus)))
  }

  var state: MachineState { guarded.withLock { $0.lifecycle.state } }
  var run: Run { guarded.withLock { $0.run } }
  var vcpus: [VCPU] { guarded.withLock { $0.vcpus } }

  func add(_ vcpu: VCPU) { guarded.withLock { $0.vcpus.append(vcpu) } }

  /// What the vCPUs counted; also after they are gone.
  var counts: VCPUCounts {
    let (vcpus, finalCounts) = guarded.withLock { ($0.vcpus, $0.finalCounts) }
    return vcpus.isEmpty ? finalCounts : Self.sum(vcpus)
  }

  /// Lets go of the joined vCPUs. What they counted stays.
  func release() {
    let counts = Self.sum(vcpus)
    guarded.withLock { guarded in
      guarded.finalCounts = counts
      guarded.vcpus = []
      guarded.goal = .none
    }
  }

  private static func sum(_ vcpus: [VCPU]) -> VCPUCounts {
    var counts = VCPUCounts()
    for vcpu in vcpus { vcpu.addCounts(to: &counts) }
    return counts
  }

  /// Writes `segments` into the VM's memory, if it is ready and not about to stop: `destroy` unmaps the memory only after
  /// that, so nothing is written to it later. Under the lock for that reason; the segments are small.
  /// - Returns: whether it was ready.
  func put(_ segments: [GuestSegment]) throws(MachineCreationError) -> Bool {
    try guarded.withLock { guarded throws(MachineCreationError) in
      guard guarded.lifecycle.state == .ready, !guarded.lifecycle.isStopping else { return false }
      for segment in segments { try guest.put(segment) }
      return true
    }
  }

  /// What a VM that stands still does not change: while it is the same, the guest has not run.
  struct Standstill: Equatable {
    let state: MachineState
    let run: UInt64
    let goals: UInt64
  }

  /// That the VM is ready or paused, for `operation`; refuses all other states.
  func standingStill(for operation: String) throws(MachineTemplateError) -> Standstill {
    try guarded.withLock { guarded throws(MachineTemplateError) in
      let state = guarded.lifecycle.state
      guard state == .ready || state == .paused, !guarded.lifecycle.isStopping else {
        throw .control(.invalidState(operation: operation, state, isStopping: guarded.lifecycle.isStopping))
      }
      guard !guarded.lifecycle.hasHaltedVCPU else { throw .vcpuHasHalted }
      return Standstill(state: state, run: guarded.lifecycle.run, goals: guarded.goals)
    }
  }

  /// What became of asking for registers.
  enum RegistersOutcome {
    case pending(RequestedRegisters)
    case refused(MachineState)
    case ended
  }

  /// Asks for the registers of a vCPU whose VM is paused or stopped. Under the lock, so that the request comes after the one
  /// that paused the VM and before one that resumes it.
  func requestRegisters(of vcpu: VCPU) -> RegistersOutcome {
    guarded.withLock { guarded in
      switch guarded.lifecycle.state {
      case .ready, .running: return .refused(guarded.lifecycle.state)
      case .paused, .stopped:
        do throws(KickError) {
          return .pending(try vcpu.requestRegisters())
        } catch { return .ended }
      }
    }
  }

  /// What a control event did: requests to wait for, and the run that they are of; or a refusal with the state it found.
  enum Outcome {
    case pending(PendingRequests, Run)
    case refused(MachineState, isStopping: Bool)
  }

  /// Applies an event and publishes the goal that follows from it. Waits for nothing. Where `wakes` is false, vCPUs that
  /// sleep are left to `wake`.
  ///
  /// An event that finds the VM as it ought to be publishes nothing. Its outcome is the requests that made the VM so: a
  /// caller that pauses a VM while another one is pausing it waits until it is paused.
  ///
  /// Before a `reset` its caller puts memory, devices and registers back, these by errands: the vCPUs' threads stand parked,
  /// and are the same in the next run.
  @discardableResult
  func on(_ event: Lifecycle.Event, wakes: Bool = true) -> Outcome {
    let (outcome, announces, earlierRun) = guarded.withLock { guarded -> (Outcome, Bool, Run) in
      let before = guarded.lifecycle.state
      let run = guarded.run
      let action = guarded.lifecycle.on(event)
      let after = guarded.lifecycle.state
      var announces = false
      if after != before {
        guarded.announcements.append(after)
        announces = !guarded.isAnnouncing
        guarded.isAnnouncing = true
      }
      switch action {
      case .refuse: return (.refused(after, isStopping: guarded.lifecycle.isStopping), announces, run)
      case .announceStop, .none: return (.pending(guarded.goal, run), announces, run)
      case .setGoal(let goal):
        if guarded.lifecycle.run != run.number {
          guarded.run = Run(number: guarded.lifecycle.run)
          ended.withLock { $0 = nil }
        }
        guarded.goals += 1
        guarded.goal = Self.publish(goal, to: guarded.vcpus, wakes: wakes)
        return (.pending(guarded.goal, guarded.run), announces, run)
      }
    }
    // Its timer takes a lock when it goes.
    withExtendedLifetime(earlierRun) {}
    if announces { announce() }
    return outcome
  }

  /// Announces states in the order in which they were entered. A guest may stop before the thread that started it has
  /// announced the start: that thread then announces both. Not under the lock: listeners hold others when they take it.
  private func announce() {
    while let next = guarded.withLock({ guarded -> MachineState? in
      guard !guarded.announcements.isEmpty else {
        guarded.isAnnouncing = false
        return nil
      }
      return guarded.announcements.removeFirst()
    }) {
      changed(next)
    }
  }

  /// Signals all first; waiting comes later. A goal is not paced, so this waits for nothing.
  private static func publish(_ goal: VCPUGoal, to vcpus: [VCPU], wakes: Bool) -> PendingRequests {
    let start = MonotonicClock.now()
    let requests = vcpus.map { vcpu in
      do throws(KickError) {
        return PendingRequest(vcpu: vcpu, ticket: .success(try vcpu.request(goal: goal, wakes: wakes)))
      } catch {
        return PendingRequest(vcpu: vcpu, ticket: .failure(error))
      }
    }
    return PendingRequests(requests: requests, requestedAtNS: start)
  }

  /// Wakes vCPUs whose goal was published without.
  func wake() {
    for vcpu in vcpus { vcpu.wake() }
  }

  /// Interrupts the guest, or ends its naps: its console has input.
  func notifyInput() {
    if devices.interruptForInput() { return }
    for vcpu in vcpus { vcpu.notifyInput() }
  }

  // MARK: ExitHandler

  func portRead(_ port: UInt16, size: UInt8) -> (value: UInt32, action: ExitAction) {
    guard let width = AccessWidth(rawValue: size) else { return (.max, .resume) }
    let (value, effect) = devices.ports.read(address: UInt64(port), width: width)
    return (UInt32(truncatingIfNeeded: value), action(effect))
  }

  func portWrite(_ port: UInt16, size: UInt8, value: UInt32) -> ExitAction {
    guard let width = AccessWidth(rawValue: size) else { return .resume }
    return action(devices.ports.write(address: UInt64(port), width: width, value: UInt64(value)))
  }

  func memoryRead(_ address: UInt64, size: UInt8) -> (value: UInt64, action: ExitAction) {
    guard let width = AccessWidth(rawValue: size) else { return (.max, .resume) }
    let (value, effect) = devices.memory.read(address: address, width: width)
    return (value, action(effect))
  }

  func memoryWrite(_ address: UInt64, size: UInt8, value: UInt64) -> ExitAction {
    guard let width = AccessWidth(rawValue: size) else { return .resume }
    return action(devices.memory.write(address: address, width: width, value: value))
  }

  private func action(_ effect: DeviceEffect) -> ExitAction {
    switch effect {
    case .none: return .resume
    case .idle(let duration): return .idle(untilNS: MonotonicClock.now() &+ duration)
    case .sleep(let duration):
      let (wake, overflow) = MonotonicClock.now().addingReportingOverflow(duration)
      return .sleep(untilNS: overflow ? .max : wake)
    case .exit(let code): return finish(.exited(code: code))
    case .powerOff: return finish(.poweredOff)
    case .reset: return finish(.reset)
    case .fail(let fault): return finish(.crashed(fault.description))
    }
  }

  private func finish(_ end: VCPUEnd) -> ExitAction {
    ended.withLock { ended in ended = ended ?? end }
    return .end
  }

  func end() -> VCPUEnd { ended.withLock { $0 } ?? .crashed("a device ended the guest and did not say why") }

  func guestMemory(at address: UInt64, count: Int) -> [UInt8] { guest.bytes(at: address, upTo: count) }

  func vcpuFinished(index: Int, run: UInt64, _ end: VCPUEnd) { on(.vcpuFinished(end, run: run)) }

  func vcpuParkedForGood(index: Int, run: UInt64) { on(.vcpuParkedForGood(run: run)) }
}

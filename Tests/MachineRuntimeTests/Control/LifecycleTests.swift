import Devices
import GuestMemory
import Testing
import VCPURuntime

@testable import MachineRuntime

/// Every state and every event.
struct LifecycleTests {
  typealias Row = (from: [Lifecycle.Event], event: Lifecycle.Event, action: Lifecycle.Action, state: MachineState)

  static let toReady: [Lifecycle.Event] = []
  static let toRunning: [Lifecycle.Event] = [.start]
  static let toPaused: [Lifecycle.Event] = [.start, .pause]
  static let toStopping: [Lifecycle.Event] = [.start, .stop(.killed)]
  static let toStopped: [Lifecycle.Event] = [
    .start, .stop(.killed), .vcpuParkedForGood(run: 0), .vcpuParkedForGood(run: 0),
  ]
  static let toSecondReady = toStopped + [.reset]
  static let toSecondRunning = toSecondReady + [.start]
  static let toSecondStopping = toSecondRunning + [.stop(.killed)]
  static let killed = MachineState.stopped(.killed)

  static let rows: [Row] = [
    (toReady, .start, .setGoal(.run), .running), (toReady, .pause, .refuse, .ready),
    (toReady, .resume, .refuse, .ready),
    (toReady, .stop(.killed), .setGoal(.stop), .ready),
    (toRunning, .start, .none, .running), (toRunning, .pause, .setGoal(.pause), .paused),
    (toRunning, .resume, .none, .running), (toRunning, .stop(.deadline), .setGoal(.stop), .running),
    (toPaused, .start, .refuse, .paused), (toPaused, .pause, .none, .paused),
    (toPaused, .resume, .setGoal(.run), .running), (toPaused, .stop(.killed), .setGoal(.stop), .paused),
    (toStopping, .start, .refuse, .running), (toStopping, .pause, .refuse, .running),
    (toStopping, .resume, .refuse, .running), (toStopping, .stop(.deadline), .none, .running),
    (toStopping, .vcpuFinished(.exited(code: 1), run: 0), .none, .running),
    (toStopping, .vcpuParkedForGood(run: 0), .none, .running),
    (toStopped, .start, .refuse, killed), (toStopped, .pause, .refuse, killed), (toStopped, .resume, .refuse, killed),
    (toStopped, .stop(.deadline), .none, killed), (toStopped, .vcpuFinished(.halted, run: 0), .none, killed),
    (toRunning, .vcpuFinished(.exited(code: 3), run: 0), .setGoal(.stop), .running),
    (toRunning, .vcpuFinished(.crashed("x"), run: 0), .setGoal(.stop), .running),
    (toRunning, .vcpuFinished(.poweredOff, run: 0), .setGoal(.stop), .running),
    (toPaused, .vcpuFinished(.reset, run: 0), .setGoal(.stop), .paused),
    (toRunning, .vcpuFinished(.halted, run: 0), .none, .running),
    (toRunning + [.vcpuFinished(.halted, run: 0)], .vcpuFinished(.halted, run: 0), .setGoal(.stop), .running),
    (toPaused, .vcpuFinished(.exited(code: 0), run: 0), .setGoal(.stop), .paused),
    (toReady, .reset, .none, .ready), (toRunning, .reset, .refuse, .running), (toPaused, .reset, .refuse, .paused),
    (toStopping, .reset, .refuse, .running), (toStopped, .reset, .setGoal(.ready), .ready),
    (toSecondReady, .reset, .none, .ready), (toSecondReady, .start, .setGoal(.run), .running),
    (toRunning, .destroy, .setGoal(.stop), .running), (toStopped, .destroy, .none, killed),
    (toStopped + [.destroy], .reset, .refuse, killed),
    (toRunning, .deadline(run: 0), .setGoal(.stop), .running), (toRunning, .deadline(run: 1), .none, .running),
    (toSecondReady, .deadline(run: 0), .none, .ready), (toSecondRunning, .deadline(run: 0), .none, .running),
    (toSecondRunning, .deadline(run: 1), .setGoal(.stop), .running),
    (toSecondRunning, .vcpuFinished(.crashed("x"), run: 0), .none, .running),
    (toSecondRunning, .vcpuFinished(.crashed("x"), run: 1), .setGoal(.stop), .running),
    (
      toSecondRunning + [.vcpuFinished(.halted, run: 0)], .vcpuFinished(.halted, run: 1), .none, .running
    ),
    (
      toRunning + [.vcpuFinished(.halted, run: 0)] + toSecondStopping.dropFirst(), .vcpuParkedForGood(run: 1), .none,
      .running
    ),
    (toSecondStopping + [.vcpuParkedForGood(run: 0)], .vcpuParkedForGood(run: 1), .none, .running),
    (toSecondStopping + [.vcpuParkedForGood(run: 1)], .vcpuParkedForGood(run: 1), .announceStop(.killed), killed),
  ]

  @Test(arguments: rows.indices) func everyStateAndEvent(row: Int) {
    let (from, event, action, state) = Self.rows[row]
    var lifecycle = Lifecycle(vcpus: 2)
    for earlier in from { _ = lifecycle.on(earlier) }
    #expect(lifecycle.on(event) == action)
    #expect(lifecycle.state == state)
  }

  @Test func theFirstReasonToStopIsTheOneThatCounts() {
    var lifecycle = Lifecycle(vcpus: 1)
    _ = lifecycle.on(.start)
    _ = lifecycle.on(.vcpuFinished(.exited(code: 4), run: 0))
    _ = lifecycle.on(.stop(.deadline))
    #expect(lifecycle.on(.vcpuParkedForGood(run: 0)) == .announceStop(.guest(.exited(code: 4))))
    #expect(lifecycle.state == .stopped(.guest(.exited(code: 4))))
  }

  @Test func aVMThatIsAboutToStopSaysSo() throws {
    let memory = try GuestRAM(size: 4096)
    let devices = try MachineDevices(.minimal, console: Console(), memory: memory, vcpus: 1)
    let core = MachineCore(devices: devices, guest: memory, vcpus: 1) { _ in }
    for event in [Lifecycle.Event.start, .pause, .stop(.killed)] { core.on(event) }
    guard case .refused(.paused, isStopping: true) = core.on(.pause) else {
      Issue.record("it was not refused")
      return
    }
    let error = MachineControlError.invalidState(operation: "pause", .paused, isStopping: true)
    #expect("\(error)" == "cannot pause a VM that is about to stop. A stopped VM does not run again; make another.")
  }

  @Test func itIsStoppedOnlyWhenTheLastVCPUIsParked() {
    var lifecycle = Lifecycle(vcpus: 3)
    _ = lifecycle.on(.start)
    _ = lifecycle.on(.stop(.killed))
    #expect(lifecycle.on(.vcpuParkedForGood(run: 0)) == .none)
    #expect(lifecycle.on(.vcpuParkedForGood(run: 0)) == .none)
    #expect(lifecycle.state == .running)
    #expect(lifecycle.on(.vcpuParkedForGood(run: 0)) == .announceStop(.killed))
  }
}

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
  static let toStopped: [Lifecycle.Event] = [.start, .stop(.killed), .vcpuParkedForGood, .vcpuParkedForGood]
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
    (toStopping, .vcpuFinished(.exited(code: 1)), .none, .running), (toStopping, .vcpuParkedForGood, .none, .running),
    (toStopped, .start, .refuse, killed), (toStopped, .pause, .refuse, killed), (toStopped, .resume, .refuse, killed),
    (toStopped, .stop(.deadline), .none, killed), (toStopped, .vcpuFinished(.halted), .none, killed),
    (toRunning, .vcpuFinished(.exited(code: 3)), .setGoal(.stop), .running),
    (toRunning, .vcpuFinished(.crashed("x")), .setGoal(.stop), .running),
    (toRunning, .vcpuFinished(.poweredOff), .setGoal(.stop), .running),
    (toPaused, .vcpuFinished(.reset), .setGoal(.stop), .paused),
    (toRunning, .vcpuFinished(.halted), .none, .running),
    (toRunning + [.vcpuFinished(.halted)], .vcpuFinished(.halted), .setGoal(.stop), .running),
    (toPaused, .vcpuFinished(.exited(code: 0)), .setGoal(.stop), .paused),
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
    _ = lifecycle.on(.vcpuFinished(.exited(code: 4)))
    _ = lifecycle.on(.stop(.deadline))
    #expect(lifecycle.on(.vcpuParkedForGood) == .announceStop(.exited(code: 4)))
    #expect(lifecycle.state == .stopped(.exited(code: 4)))
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
    #expect("\(error)" == "cannot pause a VM that is about to stop")
  }

  @Test func itIsStoppedOnlyWhenTheLastVCPUIsParked() {
    var lifecycle = Lifecycle(vcpus: 3)
    _ = lifecycle.on(.start)
    _ = lifecycle.on(.stop(.killed))
    #expect(lifecycle.on(.vcpuParkedForGood) == .none)
    #expect(lifecycle.on(.vcpuParkedForGood) == .none)
    #expect(lifecycle.state == .running)
    #expect(lifecycle.on(.vcpuParkedForGood) == .announceStop(.killed))
  }
}

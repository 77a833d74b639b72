import Devices
import LinuxSupport
import MachineRuntime
import Synchronization

/// A VM on its way to its pool's ready point. Any thread.
final class TemplateBoot: Sendable {
  /// How the way has ended.
  enum Outcome: Sendable {
    /// The guest is there.
    case ready
    /// The guest has ended before.
    case stopped(MachineStop)
    /// The time was up before.
    case late
    /// The template has no use any more.
    case givenUp
  }

  private struct State {
    var machine: (any ManagedMachine)?
    /// The first holds.
    var outcome: Outcome?
    var isStarted = false
    /// When it began to be made.
    var beganNS: UInt64 = 0
    var search: ConsoleSearch?
  }

  /// What the template is for.
  let creation: Ledger.Creation
  private let plan: Ledger.Boot
  /// Called once, when there is an outcome and the VM is made: it must not wait.
  private let settled: @Sendable (TemplateBoot) -> Void
  /// The console's lock is taken under it, and no other.
  private let state: Mutex<State>
  private let alarm = Alarm()

  /// How often the console is looked at, in ns: a guest that prints and goes on has gone on for so long.
  private static let lookIntervalNS: UInt64 = 5_000_000
  /// How long a vCPU may take to acknowledge, in ns.
  private static let patienceNS: UInt64 = 5_000_000_000

  /// `settled` is called with it, once, if it is started.
  init(_ creation: Ledger.Creation, _ plan: Ledger.Boot, settled: @escaping @Sendable (TemplateBoot) -> Void) {
    self.creation = creation
    self.plan = plan
    self.settled = settled
    var search: ConsoleSearch?
    if case .console(let text) = plan.point { search = ConsoleSearch(for: text) }
    state = Mutex(State(search: search))
  }

  /// Starts the VM, which began to be made at `beganNS` (CLOCK_MONOTONIC), and looks for its ready point from now on.
  func start(_ machine: any ManagedMachine, beganNS: UInt64) {
    let isWanted = state.withLock { state in
      state.machine = machine
      state.beganNS = beganNS
      return state.outcome == nil
    }
    // A start that is not acknowledged in time is a start all the same; the VM's state says what became of it.
    if isWanted { try? machine.start(untilNS: MonotonicClock.now() + Self.patienceNS) }
    let isSettled = state.withLock { state in
      state.isStarted = true
      return state.outcome != nil
    }
    if isSettled { return settled(self) }
    switch plan.point {
    case .loaded, .started: settle(.ready)
    case .after(let ns): alarm.set(atNS: MonotonicClock.now() + ns) { [weak self] in self?.settle(.ready) }
    case .console: look(untilNS: MonotonicClock.now() + plan.timeoutNS)
    }
  }

  /// It has come to an end; only the first counts.
  func settle(_ outcome: Outcome) {
    let isDue = state.withLock { state in
      guard state.outcome == nil else { return false }
      state.outcome = outcome
      return state.isStarted
    }
    if isDue { settled(self) }
  }

  /// Looks at what the guest has printed since, and comes again.
  private func look(untilNS deadlineNS: UInt64) {
    let isFound = state.withLock { state -> Bool? in
      guard state.outcome == nil, let machine = state.machine else { return nil }
      return state.search?.finds(in: machine.console) ?? false
    }
    guard let isFound else { return }
    let now = MonotonicClock.now()
    if isFound { return settle(.ready) }
    if now >= deadlineNS { return settle(.late) }
    alarm.set(atNS: min(now + Self.lookIntervalNS, deadlineNS)) { [weak self] in self?.look(untilNS: deadlineNS) }
  }

  /// Freezes the VM where it has come to its ready point; waits for its vCPUs.
  func freeze() -> Result<PoolTemplate, TemplateFailure> {
    let (machine, outcome, beganNS) = state.withLock { ($0.machine, $0.outcome, $0.beganNS) }
    guard let machine, let outcome else { return .failure(.givenUp) }
    func failure(_ reason: String) -> TemplateFailure { .boot(reason: reason, console: machine.console) }
    switch outcome {
    case .ready: break
    case .stopped(let stop): return .failure(failure(Self.ended(stop)))
    case .late: return .failure(failure("its guest did not print the text within \(plan.timeoutNS / 1_000_000) ms"))
    case .givenUp: return .failure(.givenUp)
    }
    let untilNS = MonotonicClock.now() + Self.patienceNS
    do throws(MachineTemplateError) {
      do throws(MachineControlError) { try machine.pause(untilNS: untilNS) } catch { throw .control(error) }
      let template = try machine.makeTemplate(untilNS: untilNS)
      return .success(PoolTemplate(template: template, bootNS: MonotonicClock.now() - beganNS))
    } catch {
      if case .stopped(let stop) = machine.state { return .failure(failure(Self.ended(stop))) }
      return .failure(failure("\(error)"))
    }
  }

  private static func ended(_ stop: MachineStop) -> String {
    "its guest ended before: \(stop.reason)" + (stop.crash.map { " (\($0))" } ?? "")
  }

  /// Asks the VM to stop, and waits until `deadlineNS` (CLOCK_MONOTONIC).
  func stop(untilNS deadlineNS: UInt64) {
    // What does not stop ends with the process.
    try? state.withLock { $0.machine }?.stop(.killed, untilNS: deadlineNS)
  }

  /// Destroys the VM; once. Waits for its vCPUs.
  func release() {
    alarm.cancel()
    let machine = state.withLock { $0.machine.take() }
    machine?.destroy()
  }
}

/// Why there is no template.
enum TemplateFailure: Error, CustomStringConvertible {
  /// The VM could not be made.
  case creation(MachineCreationError)
  /// It was made, and did not come to its ready point.
  case boot(reason: String, console: Console)
  /// It has no use any more.
  case givenUp

  /// Bytes of the console's end that are shown.
  static let consoleBytes: UInt64 = 400

  var description: String {
    switch self {
    case .creation(let error): "\(error)"
    case .boot(let reason, let console):
      "the VM that was to be cloned did not come to its ready point (ready_when): \(reason); " + Self.end(of: console)
    case .givenUp: "the template is not needed any more"
    }
  }

  private static func end(of console: Console) -> String {
    let written = console.written
    if written == 0 { return "it has printed nothing" }
    let bytes = console.read(from: written - min(written, consoleBytes), limit: Int(consoleBytes)).bytes
    return "its console ends with: " + printable(bytes)
  }

  /// The text on one line, with names for what cannot be seen.
  static func printable(_ bytes: [UInt8]) -> String {
    var text = ""
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned:
        text += scalar.escaped(asASCII: true)
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text
  }
}

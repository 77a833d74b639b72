import APIModel
import GuestImages
import HTTPServer
import LinuxSupport
import MachineRuntime
import PoolManager
import Synchronization

/// `/v1/pools/{pool}/run`: lease, start, feed, wait, collect and release, in one call.
enum RunRoutes {
  static let routes = [
    Route(
      method: .post, template: "/v1/pools/{pool}/run", operationID: "run", body: .json(isRequired: false),
      isIdempotent: true, isNewWork: true, handler: run)
  ]

  /// What a lease of a run lasts beyond the guest's own deadline: for stopping it and telling of it.
  private static let graceNS: UInt64 = 60_000_000_000

  private static func run(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let document = try call.documentIfAny(RunRequestDocument.self)
    let input = try input(document)
    let deadlineMS = try checked(document?.deadlineMS, default: 10_000, in: 1...86_400_000, at: "/deadline_ms")
    let deadlineNS = UInt64(deadlineMS) * 1_000_000
    let request = LeaseRequest(
      ttlNS: deadlineNS + graceNS, waitNS: try LeaseRequest.waitNS(document?.waitMS),
      labels: ["for": "run"],
      arguments: GuestArguments(commandLine: document?.commandLine, environment: document?.environment),
      origin: call.origin)
    let pool = call.parameters.name
    // Told now, while there is somebody to tell it to without waiting.
    _ = try translating { () throws(FleetError) in try api.fleet.pool(pool) }
    try api.check(request.arguments, forPool: pool)
    return .suspended { waiter in
      Run(api.fleet, pool, waiter, input: input, deadlineNS: deadlineNS, origin: call.origin).begin(request)
    }
  }

  private static func input(_ document: RunRequestDocument?) throws(APIProblem) -> [UInt8] {
    let input: [UInt8]
    let pointer: String
    switch (document?.input, document?.inputBase64) {
    case (nil, nil): return []
    case (let text?, nil): (input, pointer) = (Array(text.utf8), "/input")
    case (nil, let base64?):
      guard let bytes = Base64.decoded(base64) else {
        throw .invalid("/input_base64", "The input is not base64 (RFC 4648, padded, without white space).")
      }
      (input, pointer) = (bytes, "/input_base64")
    case (_?, _?):
      throw .invalid("/input_base64", "Both input and input_base64 are given; give one of the two.")
    }
    guard input.count <= ConsoleRoutes.inputLimit else {
      throw .invalid(pointer, "The input has \(input.count) bytes; give at most \(ConsoleRoutes.inputLimit).")
    }
    return input
  }
}

/// One run: from asking for a VM to telling what became of it.
private final class Run: Sendable {
  private enum Phase {
    case asking
    case waiting(LeaseWait)
    case running(Lease, VMWatch, startedNS: UInt64, isRecorded: Bool)
    /// The guest has stopped before the lease was recorded.
    case finished(Lease, MachineStop, durationNS: UInt64)
    case over
  }

  private let fleet: Fleet
  private let pool: String
  private let waiter: Waiter
  private let input: [UInt8]
  private let deadlineNS: UInt64
  private let origin: Origin
  /// Guards the phase; a leaf lock. Whoever makes it `over` settles the matter.
  private let phase = Mutex(Phase.asking)

  init(
    _ fleet: Fleet, _ pool: String, _ waiter: Waiter, input: [UInt8], deadlineNS: UInt64, origin: Origin
  ) {
    self.fleet = fleet
    self.pool = pool
    self.waiter = waiter
    self.input = input
    self.deadlineNS = deadlineNS
    self.origin = origin
  }

  func begin(_ request: LeaseRequest) {
    waiter.whenClientLeaves { self.left() }
    var request = request
    request.begin = { self.start($0) }
    do throws(LeaseRefusal) {
      switch try fleet.lease(from: pool, request, later: { self.told($0) }) {
      case .granted: recorded()
      case .waiting(let wait): waits(wait)
      }
    } catch {
      told(.failure(error))
    }
  }

  private func waits(_ wait: LeaseWait) {
    let isOver = phase.withLock { phase in
      // It may have been told already, or its client may have gone.
      if case .asking = phase { phase = .waiting(wait) }
      if case .over = phase { return true }
      return false
    }
    if isOver { _ = fleet.leave(wait) }
  }

  private func told(_ result: Result<Lease, LeaseRefusal>) {
    switch result {
    case .success: recorded()
    case .failure(let refusal):
      if case .running(_, let watch, _, _) = end() { fleet.unwatch(watch) }
      waiter.fail(APIProblem(refusal, pool: pool))
    }
  }

  private func start(_ lease: Lease) {
    let machine = lease.vm.machine
    let watch = fleet.watch(lease.vm.id) { state in
      switch state {
      case .stopped(let stop): self.finish(stop)
      case nil: self.finish(.killed)
      case .ready, .running, .paused: return true
      }
      return false
    }
    let isWanted = phase.withLock { phase in
      if case .over = phase { return false }
      phase = .running(lease, watch, startedNS: MonotonicClock.now(), isRecorded: false)
      return true
    }
    guard isWanted else {
      fleet.unwatch(watch)
      _ = fleet.end(lease.id, .abandoned, by: .server)
      // Unless its client has left, its VM has gone.
      waiter.fail(.noSuchVM(lease.vm.id))
      return
    }
    // What the console takes is as much as a request can bring; and that the VM was deleted meanwhile, the watch tells.
    _ = try? machine.offerInput(input)
    // Nobody waits for the acknowledgement: that it has stopped is what is waited for.
    try? machine.start(limitNS: min(deadlineNS, machine.configuration.deadlineNS ?? .max), untilNS: 0)
  }

  /// Takes the right to settle the matter; what it was about until then.
  private func end() -> Phase {
    phase.withLock { phase in
      defer { phase = .over }
      return phase
    }
  }

  /// The lease is on record, so the run may be answered.
  private func recorded() {
    let finished = phase.withLock { phase -> (Lease, MachineStop, UInt64)? in
      switch phase {
      case .running(let lease, let watch, let startedNS, _):
        phase = .running(lease, watch, startedNS: startedNS, isRecorded: true)
      case .finished(let lease, let stop, let durationNS):
        phase = .over
        return (lease, stop, durationNS)
      case .asking, .waiting, .over: break
      }
      return nil
    }
    if let (lease, stop, durationNS) = finished { answer(lease, stop, durationNS) }
  }

  /// The guest has stopped; on its vCPU's thread as a rule.
  private func finish(_ stop: MachineStop) {
    let finished = phase.withLock { phase -> (Lease, VMWatch, UInt64, isRecorded: Bool)? in
      guard case .running(let lease, let watch, let startedNS, let isRecorded) = phase else {
        // Deleted before it was started, or told twice.
        if case .finished = phase {} else { phase = .over }
        return nil
      }
      let durationNS = MonotonicClock.now() - startedNS
      phase = isRecorded ? .over : .finished(lease, stop, durationNS: durationNS)
      return (lease, watch, durationNS, isRecorded)
    }
    guard let (lease, watch, durationNS, isRecorded) = finished else { return }
    // Else it is told that the VM is gone, on a thread that would keep a processor from the answer.
    fleet.unwatch(watch)
    if isRecorded { answer(lease, stop, durationNS) }
  }

  private func answer(_ lease: Lease, _ stop: MachineStop, _ durationNS: UInt64) {
    let document = RunDocument(lease.vm, stop, durationNS: durationNS)
    // Whether or not somebody hears of it. Whoever does finds the lease ended.
    fleet.end(lease.id, .released, by: origin) {
      waiter.complete { () throws(APIProblem) in try .json(document) }
    }
  }

  private func left() {
    switch end() {
    case .asking, .over: break
    case .waiting(let wait): _ = fleet.leave(wait)
    case .running(let lease, let watch, _, _):
      fleet.unwatch(watch)
      _ = fleet.end(lease.id, .abandoned, by: origin)
    case .finished(let lease, _, _): _ = fleet.end(lease.id, .abandoned, by: origin)
    }
  }
}

extension RunDocument {
  fileprivate init(_ vm: VM, _ stop: MachineStop, durationNS: UInt64) {
    let console = vm.machine.console
    let output = console.read(from: 0, limit: .max)
    let text = String(validating: output.bytes, as: UTF8.self)
    var exitCode: Int?
    var detail: String?
    switch stop {
    case .exited(let code): exitCode = Int(code)
    case .crashed(let what): detail = what
    case .halted, .poweredOff, .reset, .killed, .deadline: break
    }
    self.init(
      vm: vm.id, outcome: stop.reason, exitCode: exitCode, detail: detail,
      console: text ?? String(decoding: output.bytes, as: UTF8.self),
      consoleBase64: text == nil ? Base64.encoded(output.bytes) : nil, consoleBytes: console.written,
      exits: vm.machine.counts.exits, durationNS: durationNS)
  }
}

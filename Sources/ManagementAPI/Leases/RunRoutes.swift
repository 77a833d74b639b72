import APIModel
import Digests
import GuestImages
import HTTPServer
import LinuxSupport
import MachineRuntime
import PoolManager
import Synchronization

/// `/v1/pools/{pool}/run`: lease, start, give input, wait, collect and release, in one context.
enum RunRoutes {
  static let routes = [
    Route(
      method: .post, template: "/v1/pools/{pool}/run", operationID: "run", scope: .run, body: .json(isRequired: false),
      isIdempotent: true, isNewWork: true, endsWithClient: true, operation: run)
  ]

  /// What a lease of a run lasts beyond the guest's own deadline: for stopping it and telling of it.
  private static let graceNS: UInt64 = 60_000_000_000

  private static func run(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try api.admitWaiting()
    let document = try context.documentIfAny(RunRequestDocument.self)
    let input = try input(document)
    let deadlineMS = try checked(document?.deadlineMS, default: 10_000, in: 1...86_400_000, at: "/deadline_ms")
    let deadlineNS = UInt64(deadlineMS) * 1_000_000
    var request = LeaseRequest(
      ttlNS: deadlineNS + graceNS, waitNS: try LeaseRequest.waitNS(document?.waitMS), labels: ["for": "run"],
      arguments: GuestArguments(commandLine: document?.commandLine, environment: document?.environment),
      origin: context.origin)
    // Refused now, before a VM is taken for it.
    let pool = try api.pool(context)
    try api.check(request.arguments, for: pool)

    // The guest starts before its lease is recorded, and runs meanwhile.
    let guest = RunningGuest(api.fleet)
    request.begin = { lease in guest.start(on: lease.vm, input: input, limitNS: deadlineNS) }
    defer { guest.unwatch() }
    let lease = try await api.lease(from: pool.name, request)

    // It goes on here on the vCPU's thread that saw the guest stop.
    guard case .happened(let end) = await guest.end.outcome() else {
      guest.unwatch()
      _ = api.fleet.end(lease.id, as: .abandoned, by: context.origin)
      throw .clientLeft
    }
    let answer = RunDocument(lease.vm, end.stop, durationNS: end.durationNS)
    // Before the lease ends: a watcher would be told that the VM is gone, on a thread that keeps a processor from the answer.
    guest.unwatch()
    // A client that has the answer finds the lease ended. Recording that and replacing the VM wait until the answer is on
    // its way.
    context.afterwards = api.fleet.endFirst(lease.id, as: .released, by: context.origin)
    return try .json(answer)
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

/// The guest of a run, from its start to its end.
private final class RunningGuest: Sendable {
  typealias End = (stop: MachineStop, durationNS: UInt64)

  /// Happens when the guest has stopped, on its vCPU's thread as a rule, or when its VM is gone.
  let end = Waiting<End>()
  private let fleet: Fleet
  /// A leaf lock.
  private let watch = Mutex<VMWatch?>(nil)

  init(_ fleet: Fleet) { self.fleet = fleet }

  func start(on vm: VM, input: [UInt8], limitNS: UInt64) {
    let startedNS = MonotonicClock.now()
    let watch = fleet.watch(vm.id) { [end] state in
      switch state {
      case .stopped(let stop): end.happened((stop, MonotonicClock.now() - startedNS))
      case nil: end.happened((.killed, MonotonicClock.now() - startedNS))
      case .ready, .running, .paused: return true
      }
      return false
    }
    self.watch.withLock { $0 = watch }
    // The console takes as much as a request can bring. If the VM was deleted meanwhile, the watch says so.
    _ = try? vm.machine.offerInput(input)
    // The acknowledgement is not waited for: that the guest has stopped is.
    try? vm.machine.start(limitNS: min(limitNS, vm.machine.configuration.deadlineNS ?? .max), untilNS: 0)
  }

  func unwatch() {
    if let watch = watch.withLock({ $0.take() }) { fleet.unwatch(watch) }
  }
}

extension RunDocument {
  fileprivate init(_ vm: VM, _ stop: MachineStop, durationNS: UInt64) {
    let output = vm.machine.readConsole(from: 0, limit: .max)
    // Many readers of JSON refuse a NUL, so that the text is no more the console's than where it is not UTF-8.
    let text = output.bytes.contains(0) ? nil : String(validating: output.bytes, as: UTF8.self)
    self.init(
      vm: vm.id, outcome: stop.reason, exitCode: stop.exitCode.map { Int($0) }, detail: stop.crash,
      console: text ?? String(decoding: output.bytes, as: UTF8.self),
      consoleBase64: text == nil ? Base64.encoded(output.bytes) : nil, consoleBytes: output.next,
      exits: vm.machine.counts.exits, durationNS: durationNS)
  }
}

import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Glibc

struct EventsCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "Print what happens to VMs, leases and pools, a line each, until interrupted.",
    discussion: """
      After a lost connection it connects again and goes on where it was; it says so on stderr. A line with reset means \
      that events were missed: read again what you keep.
      With --json a line is the server's document, with the event's id as a further member, for --since.
      """)

  @OptionGroup var server: ServerOptions
  @OptionGroup var of: TenantOption

  @Option(help: "Only events of this pool, its VMs and its leases.", completion: Completions.pools)
  var pool: String?

  @Option(help: "Only events of this VM; a lease or a unique beginning of an id will do.", completion: Completions.vms)
  var vm: String?

  @Flag(help: "Print each event as JSON.")
  var json = false

  @Option(help: ArgumentHelp("Begin after this event, as far as the server remembers.", valueName: "id"))
  var since: String?

  func run(_ client: VMPoolClient) throws {
    var position = EventCursor(lastEventID: since)
    var hasBegunOnce = false
    var backoff = Backoff()
    let vm = try vm.map { try client.vmReference($0).id }
    var outputFailure: Int32?
    while true {
      position.hasBegun = false
      let problem: String
      do throws(APIError) {
        try client.events(from: &position, pool: pool, vm: vm, tenant: of.tenant) { event, raw in
          let line = Array((json ? Self.json(raw) : Self.line(event)).utf8)
          if !writeAll(line, to: STDOUT_FILENO) { outputFailure = errno }
          return outputFailure == nil
        }
        problem = "the server ended the stream"
      } catch {
        hasBegunOnce = hasBegunOnce || position.hasBegun
        guard hasBegunOnce, Self.mayPass(error) else { throw error }
        problem = error.description
      }
      if let outputFailure { throw vmpool.outputFailure(outputFailure) }
      hasBegunOnce = true
      let pause = backoff.next(hasBegun: position.hasBegun, from: position.retry)
      StandardError.complain("\(problem); trying again in \(pause)")
      Self.sleep(pause)
    }
  }

  /// Whether another attempt may succeed. A server that refuses the request will refuse it again.
  static func mayPass(_ error: APIError) -> Bool {
    switch error {
    case .unreachable: true
    case .problem(let problem): problem.status >= 500
    case .untrusted, .foreign, .protocolViolation: false
    }
  }

  static func line(_ event: EventDocument) -> String {
    let members = [
      ("pool", event.pool), ("vm", event.vm), ("lease", event.lease), ("reason", event.reason),
      ("exit_code", event.exitCode.map { String($0) }),
    ]
    let named = members.compactMap { name, value in value.map { "\(name)=\($0)" } }
    return printable(([event.at, event.type] + named + [event.detail].compactMap(\.self)).joined(separator: " ")) + "\n"
  }

  /// The event's document with its id as a further member. The server's ids need no escapes; any other character is left out.
  static func json(_ raw: ServerSentEvent) -> String {
    let id = raw.id.filter { $0.isLetter || $0.isNumber || $0 == "-" }
    return "{\"id\":\"\(id)\"," + raw.data.drop { $0 != "{" }.dropFirst() + "\n"
  }

  private static func sleep(_ pause: Duration) {
    let (seconds, attoseconds) = pause.components
    var time = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
    // Safe: one structure is read. A signal that does not end the program may end the pause.
    unsafe nanosleep(&time, nil)
  }
}

/// How long to wait before the next attempt: as long as the server asks for. The wait doubles after each failure, up to 30 s.
struct Backoff {
  private var failures = 0

  /// The pause before the next attempt; `hasBegun` says whether the attempt before reached the stream.
  mutating func next(hasBegun: Bool, from first: Duration) -> Duration {
    failures = hasBegun ? 0 : min(failures + 1, 10)
    return min(max(first, .milliseconds(100)) * (1 << failures), .seconds(30))
  }
}

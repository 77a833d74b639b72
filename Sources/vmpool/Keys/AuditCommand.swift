import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Glibc
import LinuxSupport

struct AuditCommand: ListCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit", abstract: "Show who did what, and who was refused, the latest first.",
    discussion: """
      A key with the scope admin shows the entries of all tenants, another those of its own tenant. Attempts without a key \
      that holds are the default tenant's. A client has few entries of refused attempts a minute; the others are counted in one.
      """)
  static let noun = "entries"

  @OptionGroup var server: ServerOptions
  @OptionGroup var list: ListOptions

  @Option(help: ArgumentHelp(Self.help("Only entries of that time and later"), valueName: "time"))
  var since: TimeArgument?

  @Option(help: ArgumentHelp(Self.help("Only entries before that time"), valueName: "time"))
  var until: TimeArgument?

  @Option(help: "Only entries of this tenant.")
  var tenant: String?

  @Option(help: "Only entries of this subject: a name, an id, or a refused operation such as 'GET /v1/vms'.")
  var subject: String?

  @Option(help: "Only what this key, user, certificate or address did.")
  var who: String?

  @Option(name: .customShort("n"), help: ArgumentHelp("At most so many entries.", valueName: "count"))
  var most = 50

  func validate() throws {
    guard 1...1_000_000 ~= most else { throw ValidationError("-n is 1 to 1000000.") }
  }

  func items(_ client: VMPoolClient) throws -> [AuditEntryDocument] {
    try client.audit(
      since: since?.text(), until: until?.text(), tenant: tenant, subject: subject, who: who, most: most)
  }

  func table(_ entries: [AuditEntryDocument]) -> Table {
    var table = Table([
      .init("TIME"), .init("WHO", mayShrink: true), .init("TENANT", mayShrink: true), .init("ACTION"),
      .init("SUBJECT", mayShrink: true), .init("RESULT"), .init("REQUEST", mayShrink: true),
      .init("DETAIL", mayShrink: true),
    ])
    for entry in entries {
      table.add([
        entry.at, entry.who, entry.tenant, entry.action, entry.subject, entry.result, entry.requestID ?? "",
        entry.detail ?? "",
      ])
    }
    return table
  }

  private static func help(_ what: String) -> String { "\(what): of RFC 3339, or so long ago, such as 1h." }
}

/// A point in time on the command line: RFC 3339, or how long ago.
struct TimeArgument: ExpressibleByArgument {
  private enum Meaning {
    case instant(String)
    case ago(DurationArgument)
  }

  private let meaning: Meaning

  init?(argument: String) {
    if RFC3339.milliseconds(of: argument) != nil {
      meaning = .instant(argument)
    } else if let ago = DurationArgument(argument: argument) {
      meaning = .ago(ago)
    } else {
      return nil
    }
  }

  /// As the API takes it. A time that is so long ago is counted anew each time.
  func text(now: Int = time(nil)) -> String {
    switch meaning {
    case .instant(let text): text
    // Before the year 0 there is no text.
    case .ago(let ago): RFC3339.text(milliseconds: Int64(max(now * 1000 - ago.milliseconds, 0)))
    }
  }
}

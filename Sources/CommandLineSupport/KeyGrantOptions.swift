public import Access
public import ArgumentParser

/// What a new key may do: the options of both programs that make one.
public struct KeyGrantOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Whose key it is: a tenant's name. `default` is the operator's own.", valueName: "tenant"))
  var tenant: TenantArgument

  @Option(help: ArgumentHelp("What it may do: \(ScopesArgument.words), with commas between them.", valueName: "scopes"))
  var scopes: ScopesArgument

  @Option(
    help: ArgumentHelp(
      "The pools that it may use, with commas between them; without it, all that its tenant may use.",
      valueName: "pools"))
  var pools: NamesArgument?

  @Option(
    help: ArgumentHelp("How long it lasts, such as 12h or 90d; without it, until it is revoked.", valueName: "duration")
  )
  var expires: DurationArgument?

  @Option(help: ArgumentHelp("A remark, which lists show.", valueName: "text"))
  var note = ""

  @Option(help: ArgumentHelp("How many requests a second it may make in the long run.", valueName: "number"))
  var rate: Int?

  @Option(
    help: ArgumentHelp("How many requests it may make at once; as many as --rate when absent.", valueName: "number"))
  var burst: Int?

  @Option(help: ArgumentHelp("How many of its requests and streams may be under way.", valueName: "number"))
  var concurrency: Int?

  /// For the parser.
  public init() {}

  /// Refuses what no key may have.
  public func validate() throws {
    if let expires, !(1000...3_153_600_000_000).contains(expires.milliseconds) {
      throw ValidationError("--expires is 1s to 36500d.")
    }
    for (name, number, most) in [
      ("--rate", rate, 1_000_000), ("--burst", burst, 1_000_000), ("--concurrency", concurrency, 65_536),
    ] {
      guard let number, !(1...most).contains(number) else { continue }
      throw ValidationError("\(name) is 1 to \(most).")
    }
    if let pools, pools.names.count > 64 { throw ValidationError("--pools names at most 64.") }
    if burst != nil, rate == nil { throw ValidationError("--burst goes with --rate.") }
    if note.utf8.count > 256 { throw ValidationError("--note has at most 256 bytes.") }
  }

  /// What the options say.
  public var grant: KeyGrant {
    KeyGrant(
      tenant: tenant.tenant, scopes: scopes.scopes, pools: pools.map { Set($0.names) }, note: note,
      limits: KeyLimits(rate: rate, burst: burst, concurrency: concurrency))
  }

  /// How long the key lasts, in milliseconds; nil: until it is revoked.
  public var ttlMS: Int? { expires?.milliseconds }
}

/// A tenant's name on the command line.
struct TenantArgument: ExpressibleByArgument {
  let tenant: Tenant

  init?(argument: String) {
    guard let tenant = Tenant(argument) else { return nil }
    self.tenant = tenant
  }
}

/// Scopes on the command line: `lease,run`.
struct ScopesArgument: ExpressibleByArgument {
  static let words = Scope.allCases.map(\.rawValue).joined(separator: ", ")

  let scopes: Scopes

  init?(argument: String) {
    let names = argument.split(separator: ",", omittingEmptySubsequences: false)
    let scopes = names.compactMap { Scope(rawValue: String($0)) }
    guard scopes.count == names.count else { return nil }
    self.scopes = Scopes(scopes)
  }
}

/// Names on the command line: `web,batch`.
struct NamesArgument: ExpressibleByArgument {
  let names: [String]

  init?(argument: String) {
    names = argument.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    // The form of a pool's name is that of a tenant's.
    guard names.allSatisfy({ Tenant($0) != nil }) else { return nil }
  }
}

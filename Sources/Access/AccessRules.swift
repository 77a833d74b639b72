/// Which clients may do what that present no key: the section `access:` of the configuration file.
///
/// A value without state, for any thread. It takes what a connection proves of its client, as the kernel or TLS says it.
public struct AccessRules: Sendable, Equatable {
  /// What a rule gives.
  public struct Grant: Sendable, Equatable {
    /// Whose things the client sees and makes.
    public var tenant: Tenant
    /// What the client may do.
    public var scopes: Scopes

    /// What a rule gives.
    public init(tenant: Tenant, scopes: Scopes) {
      self.tenant = tenant
      self.scopes = scopes
    }
  }

  /// A rule for processes that connect to a unix socket.
  public struct ProcessRule: Sendable, Equatable {
    /// Which processes.
    public enum Subject: Sendable, Equatable {
      /// Those of this user.
      case user(UInt32)
      /// Those with this group, as their own or as a supplementary one.
      case group(UInt32)
    }

    /// Which processes.
    public var subject: Subject
    /// What they may do.
    public var grant: Grant

    /// A rule.
    public init(_ subject: Subject, _ grant: Grant) {
      self.subject = subject
      self.grant = grant
    }
  }

  /// Whether the configuration closes the server: a client that nothing names is refused, also where no key was ever made.
  public var isClosed: Bool
  /// Whether every client may read `/metrics`.
  public var metricsAreOpen: Bool
  /// The first that matches holds.
  public var unix: [ProcessRule]
  /// By the certificate's subject, an RFC 4514 name that is compared octet by octet.
  public var certificates: [String: Grant]

  /// The rules of a section `access:`.
  public init(
    isClosed: Bool = true, metricsAreOpen: Bool = false, unix: [ProcessRule] = [], certificates: [String: Grant] = [:]
  ) {
    self.isClosed = isClosed
    self.metricsAreOpen = metricsAreOpen
    self.unix = unix
    self.certificates = certificates
  }

  /// Those of a server whose configuration has no such section: only keys close it.
  public static let unconfigured = AccessRules(isClosed: false)

  /// The kernel's name for each user that the server's user namespace does not have (user_namespaces(7)). These users are
  /// not one, so that the server's own user is no operator under this number.
  public static let unmappedUID: UInt32 = 65_534

  /// The process at the other end of a unix socket: an operator if it is root's or the server's own user's, else what the
  /// first rule says that matches; nil where none does.
  public func principal(ofProcess uid: UInt32, gid: UInt32, groups: [UInt32], serverUID: UInt32) -> Principal? {
    let id = "uid \(uid)"
    if uid == 0 || uid == serverUID && uid != Self.unmappedUID { return .anOperator(id: id) }
    let rule = unix.first { rule in
      switch rule.subject {
      case .user(let user): user == uid
      case .group(let group): group == gid || groups.contains(group)
      }
    }
    return rule.map { Principal(id: id, tenant: $0.grant.tenant, scopes: $0.grant.scopes) }
  }

  /// The holder of a client certificate that the server has verified; nil where no rule names its subject.
  public func principal(ofCertificate subject: String) -> Principal? {
    // Equal strings may differ in their octets (canonical equivalence), and each is another subject.
    guard let found = certificates.index(forKey: subject),
      certificates[found].key.utf8.elementsEqual(subject.utf8)
    else { return nil }
    let grant = certificates[found].value
    return Principal(id: subject, tenant: grant.tenant, scopes: grant.scopes)
  }
}

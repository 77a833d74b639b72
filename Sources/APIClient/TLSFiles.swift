/// The PEM files that a client speaks TLS with. Every server's certificate is verified, and so is its host name.
public struct TLSFiles: Sendable, Equatable {
  /// The authorities that the server's certificate must lead to; nil for those that this machine trusts.
  public var authority: String?
  /// The client's own certificate, shown to a server that asks for one.
  public var certificate: String?
  /// Its key, where that is in a file of its own.
  public var key: String?

  /// No files: the machine's authorities, and no certificate of one's own.
  public init(authority: String? = nil, certificate: String? = nil, key: String? = nil) {
    self.authority = authority
    self.certificate = certificate
    self.key = key
  }
}

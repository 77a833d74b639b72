import HTTPServer

/// Where the server may listen. Loopback addresses and unix sockets are for this machine and always allowed; other machines can
/// reach every other address.
struct ListenRule {
  /// Whether TCP addresses speak TLS.
  let hasTLS: Bool
  /// Whether a client must say who it is: a key was made once, or the configuration file has a section `access:`.
  let isClosed: Bool

  /// What is missing for `addresses`, and what to do; nil where nothing is.
  func refusal(of addresses: [ListenAddress]) -> StartupError? {
    guard let open = addresses.first(where: { !$0.isLoopback }) else { return nil }
    if !hasTLS {
      return .usage(
        "other machines can reach \(open), and everything on the way could read keys: give --tls-cert and --tls-key, or listen "
          + "on a loopback address or a unix socket; --insecure-listen does without")
    }
    guard isClosed else {
      return .configuration(
        "other machines can reach \(open), and no client needs a key: make the first with `vmpoold create-key`, or write "
          + "access: {} in the configuration file; --insecure-listen does without")
    }
    return nil
  }
}

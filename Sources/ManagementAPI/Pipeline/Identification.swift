import Access
import Control
import HTTPServer
import PoolManager

// Who makes a request, whether they may, and how often.

extension APIHandler {
  /// Whether every request needs a principal: a key was made once, or the configuration says so. A closed server never opens
  /// by itself.
  var isClosed: Bool { keys.isClosed || configuration.access.isConfigured() }

  /// Step 2: on whose behalf the request is made, and the key that it came with.
  ///
  /// A key counts first, then what the connection proves. A key that is malformed, unknown, revoked or expired gets one and
  /// the same answer, also where the server is open. An open server takes every other client for an operator.
  func identify(_ head: HTTPRequestHead, for route: Route) throws(APIProblem) -> (Principal, LiveKey?) {
    guard scope(of: route) != nil else {
      return (Principal(id: head.peer, tenant: .standard, scopes: []), nil)
    }
    if let credentials = head.headers["Authorization"] {
      guard let text = Self.bearer(credentials), let key = keys.key(presented: text) else { throw .unauthenticated }
      return (key.principal, key)
    }
    guard isClosed else { return (.anOperator(id: head.peer), nil) }
    guard let principal = configuration.access.principal(head.proof) else { throw .unauthenticated }
    return (principal, nil)
  }

  /// What a route needs as the server is configured.
  private func scope(of route: Route) -> Scope? {
    route.isOpenable && configuration.access.metricsAreOpen() ? nil : route.scope
  }

  /// What stands behind `Bearer` (RFC 6750, 2.1), whose case does not matter.
  private static func bearer(_ credentials: String) -> String? {
    let scheme = "bearer "
    guard credentials.utf8.count > scheme.utf8.count else { return nil }
    let start = credentials.utf8.index(credentials.utf8.startIndex, offsetBy: scheme.utf8.count)
    return credentials[..<start].lowercased() == scheme ? String(credentials[start...]) : nil
  }

  /// Step 3: whether the principal may use the operation. What it does not see is for `Resolution.swift` to say.
  func authorise(_ context: Context) throws(APIProblem) {
    guard let scope = scope(of: context.route) else { return }
    let principal = context.principal
    guard principal.scopes.allows(scope) else {
      throw APIProblem(
        .scopeMissing,
        "\(context.route.method.rawValue) \(context.route.template) needs the scope \(scope.rawValue), which "
          + "\(principal.id.clipped()) does not have; use a key that has it.")
    }
  }

  /// Step 4: whether the principal has a request left. The server's own limits are checked where what they limit is made.
  func limit(_ context: Context, _ key: LiveKey?) throws(APIProblem) {
    if context.route.isNewWork, fleet.isDraining { throw .draining }
    guard let key else { return }
    do throws(KeyLimitReached) {
      context.begin(try key.begin())
    } catch {
      throw APIProblem(error)
    }
  }
}

extension APIHandler {
  /// What lets clients in without a key has changed: their streams end. On any thread.
  public func accessChanged() { keylessStreams.endAll() }

  /// Has the stream of a client without a key end when what lets it in changes.
  func endWithRules(_ response: inout HTTPResponse, _ context: Context) {
    guard let begin = response.stream, context.route.scope != nil else { return }
    let number = keylessStreams.number()
    let over = response.whenOver
    response.stream = { stream in
      self.keylessStreams.add(number) { stream.cut() }
      begin(stream)
      // It may have changed after the client was let in, and before the stream could be found.
      let now = try? self.identify(context.head, for: context.route)
      if now?.0 != context.principal { stream.cut() }
    }
    response.whenOver = { isDelivered in
      self.keylessStreams.remove(number)
      over?(isDelivered)
    }
  }
}

extension HTTPResponse {
  /// Has a request's use of its key end with the answer: a stream, and a file that is sent, last longer than the operation,
  /// and are cut off when the key ends.
  mutating func end(with use: KeyUse) {
    guard stream != nil || file != nil else { return use.finish() }
    if let begin = stream {
      stream = { stream in
        use.whenEnded { stream.cut() }
        begin(stream)
      }
    }
    if file != nil { mayGoOn = { !use.hasEnded } }
    let over = whenOver
    whenOver = { isDelivered in
      use.finish()
      over?(isDelivered)
    }
  }
}

extension APIProblem {
  /// The request needs a principal and has none, or its key is none. It does not say which: neither does its answer take
  /// longer for one than for another.
  static var unauthenticated: APIProblem {
    APIProblem(
      .unauthenticated,
      "The request needs a key of this server that has neither expired nor been revoked; send it as \"Authorization: "
        + "Bearer vmp_…\".")
  }

  init(_ reached: KeyLimitReached) {
    switch reached {
    case .concurrency(let limit):
      self.init(.rateLimited, "The key has \(limit) requests under way, and no more may be; wait for one to end.")
    case .rate(let limits, let waitNS):
      let (rate, seconds) = (limits.rate ?? 1, Int(waitNS / 1_000_000_000) + 1)
      let burst = limits.burst ?? rate
      self.init(
        .rateLimited, "The key may make \(rate) requests a second and has made more; try again in \(seconds) s.")
      rateLimit = RateLimit(
        policy: "\"key\";q=\(burst);w=\((burst + rate - 1) / rate)", state: "\"key\";r=0;t=\(seconds)", seconds: seconds
      )
    }
  }
}

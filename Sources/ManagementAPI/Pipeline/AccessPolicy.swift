import Access
import HTTPServer

/// What the configuration says of clients without a key. The closures are called for requests, on any thread, and must not
/// block. What they return may change while the server runs.
public struct AccessPolicy: Sendable {
  /// Whether the configuration closes the server: every request then needs a principal, though no key was ever made.
  public var isConfigured: @Sendable () -> Bool = { false }
  /// On whose behalf a client makes requests that its connection proves to be so; nil: on no one's.
  public var principal: @Sendable (HTTPPeerProof) -> Principal? = { _ in nil }
  /// Whether metrics are for all.
  public var metricsAreOpen: @Sendable () -> Bool = { false }

  /// Of a configuration that says nothing of it.
  public init() {}
}

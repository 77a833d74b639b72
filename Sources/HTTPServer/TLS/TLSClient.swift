import CGnuTLS
import Glibc

// Safe, in all of this file: GnuTLS writes the pointers of a client; that client alone has them, and frees them at its end.

/// The client's end of TLS, for a server that looks whether it answers itself: it believes every certificate.
///
/// To be used by one thread at a time.
@safe public final class TLSClient {
  private let session: gnutls_session_t
  private let credentials: gnutls_certificate_credentials_t
  /// Kept for the session, which points to it.
  private let own: TLSCredentials?

  /// Shakes hands over a connected, blocking socket, which the caller closes after this value's end. Shows the
  /// certificate of `own` where the server asks for one. `priorities` as GnuTLS writes them. Nil when it fails, or
  /// the socket's own patience ends.
  public init?(over descriptor: Int32, showing own: TLSCredentials? = nil, priorities: String = "NORMAL") {
    var session: gnutls_session_t?
    var credentials: gnutls_certificate_credentials_t?
    guard unsafe gnutls_certificate_allocate_credentials(&credentials) == 0, let credentials = unsafe credentials else {
      return nil
    }
    guard unsafe gnutls_init(&session, UInt32(GNUTLS_CLIENT.rawValue) | UInt32(GNUTLS_NO_SIGNAL.rawValue)) == 0,
      let session = unsafe session
    else {
      unsafe gnutls_certificate_free_credentials(credentials)
      return nil
    }
    unsafe self.session = session
    unsafe self.credentials = credentials
    self.own = own
    unsafe gnutls_transport_set_int2(session, descriptor, descriptor)
    let shown = unsafe UnsafeMutableRawPointer(own?.pointer ?? credentials)
    guard unsafe gnutls_priority_set_direct(session, priorities, nil) == 0,
      unsafe gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, shown) == 0
    else { return nil }
    var result: Int32
    repeat { result = unsafe gnutls_handshake(session) } while result == GNUTLS_E_INTERRUPTED
    guard result == 0 else { return nil }
  }

  deinit {
    unsafe gnutls_deinit(session)
    unsafe gnutls_certificate_free_credentials(credentials)
  }

  /// Sends all of the bytes. False when it cannot.
  public func send(_ bytes: [UInt8]) -> Bool { unsafe sendAll(bytes, on: session) }

  /// The next bytes, at most `limit` of them; none at the end. Nil when nothing came in time.
  public func receive(atMost limit: Int) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: limit)
    while true {
      // Safe: there is room for as many bytes as are asked for.
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe gnutls_record_recv(session, $0.baseAddress, $0.count) }
      switch count {
      case Int(GNUTLS_E_INTERRUPTED): continue
      case Int(GNUTLS_E_AGAIN): return nil
      case ..<0: return []
      default: return Array(buffer.prefix(count))
      }
    }
  }

  /// Says that nothing more will be sent. The socket stays open.
  public func endSending() { _ = unsafe gnutls_bye(session, GNUTLS_SHUT_WR) }
}

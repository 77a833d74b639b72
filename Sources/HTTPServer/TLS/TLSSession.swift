import CGnuTLS
import Glibc

// Safe, in all of this file: the pointer is that of a session which libmicrohttpd keeps until the connection's closed
// callback. A text that GnuTLS has made is copied before it is released.

/// What is known of a client's certificate once the handshake is over.
enum PeerCertificate {
  case none
  /// It holds; its subject as RFC 4514 writes it.
  case verified(subject: String)
  /// It does not hold; says why.
  case refused(String)
}

/// The TLS session of one of libmicrohttpd's connections, valid as long as the connection. On its thread only.
@safe struct TLSSession {
  private let pointer: gnutls_session_t

  /// Bytes of one message of a handshake. Chains of certificates are a few KiB; GnuTLS would keep 128 for each client.
  private static let messageLimit = 32 << 10

  /// Safe: the pointer comes from a connection that has not been closed.
  @unsafe init(_ pointer: gnutls_session_t) { unsafe self.pointer = pointer }

  /// Before the handshake. The caller keeps the credentials for as long as the session.
  func begin(with credentials: TLSCredentials) {
    // The daemon has no credentials of its own. A connection keeps its pair when the server reads the files again.
    unsafe gnutls_credentials_set(pointer, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(credentials.pointer))
    unsafe gnutls_certificate_server_set_request(
      pointer, credentials.asksForCertificates ? GNUTLS_CERT_REQUEST : GNUTLS_CERT_IGNORE)
    unsafe gnutls_handshake_set_max_packet_length(pointer, Self.messageLimit)
  }

  /// Verifies what the client has shown. After the handshake.
  func peerCertificate() -> PeerCertificate {
    var text = unsafe gnutls_datum_t()
    let verdict = unsafe cgnutls_verify_client(pointer, &text)
    defer { unsafe cgnutls_release(&text) }
    let bytes = unsafe UnsafeBufferPointer(start: text.data, count: text.data == nil ? 0 : Int(text.size))
    let words = unsafe String(decoding: bytes, as: UTF8.self)
    switch verdict {
    case 0: return .none
    case 1: return .verified(subject: words)
    default: return .refused(words.isEmpty ? "It cannot be read." : words)
    }
  }

  /// Sends all of the bytes, unless the kernel has no room for them. After the handshake, while libmicrohttpd sends nothing.
  func send(_ bytes: [UInt8]) -> Bool { unsafe sendAll(bytes, on: pointer) }
}

/// Sends all of the bytes in as many records as they need. False when it cannot.
///
/// Safe: the session's handshake is over, and no other thread uses it.
@unsafe func sendAll(_ bytes: [UInt8], on session: gnutls_session_t) -> Bool {
  unsafe bytes.withUnsafeBytes { bytes in
    var sent = 0
    while sent < bytes.count {
      // Safe: the rest of the buffer; it lives for the call.
      let count = unsafe gnutls_record_send(session, bytes.baseAddress?.advanced(by: sent), bytes.count - sent)
      if count == Int(GNUTLS_E_INTERRUPTED) { continue }
      guard count > 0 else { return false }
      sent += count
    }
    return true
  }
}

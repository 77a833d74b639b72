import CGnuTLS

/// What a server proves itself with, and whom it believes: a certificate, its key, and the authority of its clients.
///
/// It never changes: a server that is to use another certificate gets other credentials.
///
/// SAFETY (`@unchecked Sendable`): GnuTLS only reads credentials that are complete, and lets many sessions on many threads
/// share them.
@safe public final class TLSCredentials: @unchecked Sendable {
  /// When the certificate begins to hold, in seconds since 1970.
  public let validFrom: Int64
  /// When the certificate, or the first of those that stand behind it, ends; in seconds since 1970.
  public let validUntil: Int64
  /// Whether clients are asked for a certificate.
  public let asksForCertificates: Bool

  let pointer: gnutls_certificate_credentials_t

  /// Reads PEM text: the certificate and those behind it, its key without a passphrase, and the certificates that those of
  /// clients must lead to.
  public init(certificate: [UInt8], key: [UInt8], clientAuthority: [UInt8]? = nil) throws(TLSCredentialsError) {
    var made: gnutls_certificate_credentials_t?
    // Safe: GnuTLS writes the pointer, and nothing else has it.
    guard unsafe gnutls_certificate_allocate_credentials(&made) == 0, let made = unsafe made else { throw .noMemory }
    var facts = cgnutls_pair_facts()
    // Safe: GnuTLS copies what it keeps of the texts.
    let code = unsafe withDatum(certificate) { certificate in
      unsafe withDatum(key) { key in unsafe cgnutls_set_pair(made, certificate, key, &facts) }
    }
    let trusted = clientAuthority.map { text in
      unsafe withDatum(text) { unsafe gnutls_certificate_set_x509_trust_mem(made, $0, GNUTLS_X509_FMT_PEM) }
    }
    let failure = TLSCredentialsError(code, facts.failed) ?? TLSCredentialsError(trusted: trusted)
    if let failure {
      unsafe gnutls_certificate_free_credentials(made)
      throw failure
    }
    unsafe pointer = made
    (validFrom, validUntil) = (facts.valid_from, facts.valid_until)
    asksForCertificates = clientAuthority != nil
  }

  deinit {
    // Safe: every connection that uses it holds a reference.
    unsafe gnutls_certificate_free_credentials(pointer)
  }
}

/// Why credentials cannot be made.
public enum TLSCredentialsError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The certificate is no certificate in PEM; GnuTLS's reason.
  case certificate(String)
  /// The key is no private key in PEM, or has a passphrase; GnuTLS's reason.
  case key(String)
  /// The key is that of another certificate.
  case mismatch
  /// The authority is no certificate in PEM; GnuTLS's reason.
  case clientAuthority(String)
  /// Memory is short.
  case noMemory

  init?(_ code: Int32, _ part: cgnutls_part) {
    guard code < 0 else { return nil }
    // Safe: the texts are constants of the library.
    let reason = unsafe String(cString: gnutls_strerror(code))
    switch part {
    case cgnutls_certificate: self = .certificate(reason)
    case cgnutls_key: self = .key(reason)
    default: self = code == GNUTLS_E_CERTIFICATE_KEY_MISMATCH ? .mismatch : .certificate(reason)
    }
  }

  /// `trusted` is how many certificates were taken, or an error; nil where there is no authority.
  init?(trusted: Int32?) {
    guard let trusted, trusted <= 0 else { return nil }
    // Safe: as above.
    let reason = unsafe String(cString: gnutls_strerror(trusted))
    self = .clientAuthority(trusted == 0 ? "no certificate was found" : reason)
  }

  /// What is wrong, and what would be right.
  public var description: String {
    switch self {
    case .certificate(let reason): "no certificate in PEM, the server's own first (\(reason))"
    case .key(let reason): "no private key in PEM without a passphrase (\(reason))"
    case .mismatch: "the key belongs to another certificate; give the key that the certificate was made with"
    case .clientAuthority(let reason): "no certificate of an authority in PEM (\(reason))"
    case .noMemory: "there is no memory for TLS"
    }
  }
}

/// Lends the bytes as GnuTLS takes them.
func withDatum<Result>(_ bytes: [UInt8], _ body: (UnsafePointer<gnutls_datum_t>) -> Result) -> Result {
  // Safe: GnuTLS does not write to what it is given; more than 4 GiB of it are cut, and no longer PEM.
  unsafe bytes.withUnsafeBufferPointer { buffer in
    var datum = unsafe gnutls_datum_t(
      data: UnsafeMutablePointer(mutating: buffer.baseAddress), size: UInt32(clamping: buffer.count))
    return unsafe withUnsafePointer(to: &datum) { unsafe body($0) }
  }
}

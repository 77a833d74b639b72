import Glibc
import HTTPServer
import LinuxSupport
import Logging
import Metrics
import Synchronization
import SystemPackage

/// The certificate, its key and the clients' authority as files: read at the start, and again at each SIGHUP.
final class ServerCertificate: Sendable {
  private let certificate: String
  private let key: String
  private let clientAuthority: String?
  private let logger: Logger
  /// What is in force. A leaf.
  private let current: Mutex<TLSCredentials>

  /// Larger files are no PEM of a server.
  private static let sizeLimit = 1 << 20

  /// Reads the files. Nil where no certificate is named; throws a sentence.
  init?(certificate: String?, key: String?, clientAuthority: String?, _ logger: Logger) throws(ServerCertificateError) {
    guard let certificate, let key else { return nil }
    self.certificate = certificate
    self.key = key
    self.clientAuthority = clientAuthority
    self.logger = logger
    current = Mutex(try Self.read(certificate, key, clientAuthority))
    warn()
  }

  /// What is in force.
  var credentials: TLSCredentials { current.withLock { $0 } }

  /// Reads the files again, and has the server use them for new connections. What was read before stays in force where they
  /// are wrong. Returns whether they were right.
  func readAgain(for server: HTTPService) -> Bool {
    do throws(ServerCertificateError) {
      let credentials = try Self.read(certificate, key, clientAuthority)
      current.withLock { $0 = credentials }
      server.use(credentials)
      warn()
      logger.notice("the certificate was read again", metadata: ["ends": "\(Self.seconds(credentials.validUntil))"])
      return true
    } catch {
      logger.error("the certificate was not read again; the one before is in force", metadata: ["error": "\(error)"])
      return false
    }
  }

  /// What `/metrics` says of the certificate.
  var families: [MetricFamily] {
    [
      MetricFamily(
        name: "vmpool_tls_certificate_expiry_timestamp_seconds",
        help: "When the certificate in force, or one that stands behind it, ends, in seconds since 1970.", kind: .gauge,
        unit: "seconds", samples: [MetricSample(value: .number(Double(credentials.validUntil)))])
    ]
  }

  private static func read(
    _ certificate: String, _ key: String, _ clientAuthority: String?
  ) throws(ServerCertificateError) -> TLSCredentials {
    let texts = (try contents(certificate), try contents(key), try clientAuthority.map(contents))
    do throws(TLSCredentialsError) {
      return try TLSCredentials(certificate: texts.0, key: texts.1, clientAuthority: texts.2)
    } catch {
      switch error {
      case .certificate: throw ServerCertificateError(message: "--tls-cert: \(certificate): \(error)")
      case .key: throw ServerCertificateError(message: "--tls-key: \(key): \(error)")
      case .mismatch:
        throw ServerCertificateError(message: "--tls-key: \(key) does not fit \(certificate): \(error)")
      case .clientAuthority:
        throw ServerCertificateError(message: "--tls-client-ca: \(clientAuthority ?? ""): \(error)")
      case .noMemory: throw ServerCertificateError(message: "\(error)")
      }
    }
  }

  private static func contents(_ path: String) throws(ServerCertificateError) -> [UInt8] {
    do {
      let file = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      var bytes = [UInt8](repeating: 0, count: sizeLimit + 1)
      var count = 0
      while count < bytes.count {
        // Safe: the rest of the buffer; it lives for the call.
        let read = try unsafe bytes.withUnsafeMutableBytes {
          try unsafe file.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[count...]))
        }
        if read == 0 { return Array(bytes[..<count]) }
        count += read
      }
    } catch {
      throw ServerCertificateError(message: "\(path) cannot be read: \(error)")
    }
    throw ServerCertificateError(message: "\(path) is larger than 1 MiB; give a file with PEM text")
  }

  /// Logs what works and should not be so.
  private func warn() {
    let credentials = credentials
    let now = Int64(WallClock.now() / 1_000_000_000)
    if credentials.validUntil <= now {
      logger.warning(
        "the certificate has ended, and clients refuse it; replace it and send SIGHUP",
        metadata: ["file": "\(certificate)", "ended": "\(Self.seconds(credentials.validUntil))"])
    } else if credentials.validFrom > now {
      logger.warning("the certificate does not hold yet; look at the clock", metadata: ["file": "\(certificate)"])
    }
    var status = stat()
    // Safe: the string lives for the call, and the kernel fills one whole stat structure.
    if unsafe stat(key, &status) == 0, status.st_mode & 0o004 != 0 {
      logger.warning("every user can read the key; say chmod o-r", metadata: ["file": "\(key)"])
    }
  }

  private static func seconds(_ time: Int64) -> String { RFC3339.text(milliseconds: time * 1000) }
}

/// Why the files cannot be used: a sentence for an operator.
struct ServerCertificateError: Error, CustomStringConvertible {
  let message: String

  var description: String { message }
}

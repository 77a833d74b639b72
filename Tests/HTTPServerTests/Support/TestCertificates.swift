import Foundation
import TestSupport

@testable import HTTPServer

/// Certificates of a test run, made by openssl(1).
final class TestCertificates: Sendable {
  static let shared = TestCertificates()

  /// Who signs a certificate.
  enum Issuer: String { case own, foreign }

  private let directory: ScratchDirectory

  private init() {
    do {
      directory = try ScratchDirectory()
      // Of the same name: a client shows a certificate only to a server that names its issuer.
      for issuer in ["own", "foreign"] {
        try run("req", "-x509", "-subj", "/CN=authority", "-days", "2", "-out", "\(issuer).pem", newKey: issuer)
      }
    } catch {
      fatalError("openssl makes no certificates: \(error)")
    }
  }

  /// PEM of an authority.
  func authority(_ issuer: Issuer = .own) throws -> [UInt8] { try bytes(issuer.rawValue + ".pem") }

  /// PEM of a new certificate with its key, for so many days from now.
  func pair(
    _ subject: String = "/CN=localhost", by issuer: Issuer = .own, for purpose: String = "serverAuth", days: Int = 1
  ) throws -> (certificate: [UInt8], key: [UInt8]) {
    let name = UUID().uuidString
    try run("req", "-subj", subject, "-out", "\(name).csr", newKey: name)
    try directory.write(Data("extendedKeyUsage=\(purpose)\nsubjectAltName=DNS:localhost\n".utf8), to: "\(name).ext")
    try run(
      "x509", "-req", "-in", "\(name).csr", "-CA", "\(issuer.rawValue).pem", "-CAkey", "\(issuer.rawValue).key",
      "-set_serial", "0x" + name.filter(\.isHexDigit), "-days", "\(days)", "-extfile", "\(name).ext", "-out",
      "\(name).pem")
    return (try bytes("\(name).pem"), try bytes("\(name).key"))
  }

  /// Credentials of a server.
  func server(clientAuthority: [UInt8]? = nil) throws -> TLSCredentials {
    let pair = try pair()
    return try TLSCredentials(certificate: pair.certificate, key: pair.key, clientAuthority: clientAuthority)
  }

  /// Credentials of a client.
  func client(
    _ subject: String, by issuer: Issuer = .own, for purpose: String = "clientAuth", days: Int = 1
  ) throws -> TLSCredentials {
    let pair = try pair(subject, by: issuer, for: purpose, days: days)
    return try TLSCredentials(certificate: pair.certificate, key: pair.key)
  }

  private func bytes(_ name: String) throws -> [UInt8] { Array(try directory.bytes(of: name)) }

  private func run(_ words: String..., newKey: String? = nil) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/openssl")
    process.currentDirectoryURL = URL(filePath: directory.path)
    let key = newKey.map { ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "\($0).key"] }
    process.arguments = words + (key ?? [])
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw RawClient.Failure(description: "openssl \(words) failed") }
  }
}

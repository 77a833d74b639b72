import Foundation
import TestSupport

@testable import StateStore

typealias Scratch = ScratchDirectory
typealias SmallFileSystem = TestSupport.SmallFileSystem

extension ScratchDirectory {
  var database: String { path(of: "vmpool.db") }

  func bytes(_ name: String = "vmpool.db") throws -> Data { try bytes(of: name) }

  func replace(_ name: String = "vmpool.db", with bytes: Data) throws { try write(bytes, to: name) }
}

/// Entries and leases that differ where it matters.
enum Sample {
  static func audit(_ action: String, _ subject: String, requestID: String? = nil) -> AuditEntry {
    AuditEntry(who: "127.0.0.1", action: action, subject: subject, requestID: requestID, atMS: 1000, detail: nil)
  }

  /// A lease's id.
  static func id(_ number: Int) -> String {
    let digits = String(number, radix: 16)
    return "lease-" + String(repeating: "0", count: 16 - digits.count) + digits
  }

  static func lease(_ id: String, fence: Int, grantedAtMS: Int = 1000) -> StoredLease {
    StoredLease(
      id: id, pool: "build", vm: "vm-\(fence)", fence: fence, labels: #"{"ci":"ünïcode"}"#, grantedAtMS: grantedAtMS,
      expiresAtMS: grantedAtMS + 1000, maxExpiresAtMS: grantedAtMS + 9000)
  }
}

import Digests

/// Lease ids: a permutation of their rows' numbers that only the holder of a secret knows.
///
/// The numbers grow, so that a new row goes to the end of its table. The ids are random to every client: no client learns
/// from one when it was made, or what the next one is. An id leads to its row without an index.
///
/// A Feistel network of six rounds over the halves of the number, whose round function is SHA-256 of the secret, the round and
/// a half. All inputs have the same length, so the hash with the secret in front is a keyed function.
struct LeaseNames: Sendable {
  private static let rounds: [UInt8] = [0, 1, 2, 3, 4, 5]
  private static let prefix = "lease-"

  private let secret: [UInt8]

  /// The ids under a secret of 32 bytes.
  init(secret: [UInt8]) { self.secret = secret }

  /// The id of the lease whose row has that number.
  func id(of number: Int) -> String {
    let number = UInt64(bitPattern: Int64(number))
    var (left, right) = (UInt32(truncatingIfNeeded: number >> 32), UInt32(truncatingIfNeeded: number))
    for round in Self.rounds { (left, right) = (right, left ^ mixed(right, round)) }
    let digits = String(UInt64(left) << 32 | UInt64(right), radix: 16)
    return Self.prefix + String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }

  /// What a lease's row is found by. Nil, which no row has, for what is no lease's id.
  func number(of id: String) -> Int? {
    guard let text = Self.value(of: id) else { return nil }
    var (left, right) = (UInt32(truncatingIfNeeded: text >> 32), UInt32(truncatingIfNeeded: text))
    for round in Self.rounds.reversed() { (left, right) = (right ^ mixed(left, round), left) }
    return Int(Int64(bitPattern: UInt64(left) << 32 | UInt64(right)))
  }

  private func mixed(_ half: UInt32, _ round: UInt8) -> UInt32 {
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: half >> (8 * $0)) }
    let hash = SHA256Digest(of: secret + [round] + bytes).bytes
    return hash.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// The hex digits of an id.
  private static func value(of id: String) -> UInt64? {
    let digits = id.utf8.dropFirst(prefix.utf8.count)
    guard id.hasPrefix(prefix), digits.count == 16 else { return nil }
    var number: UInt64 = 0
    for digit in digits {
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
      default: return nil
      }
    }
    return number
  }
}

extension SQLiteConnection {
  /// Makes the secret of the lease ids, in the transaction that is open. The rows that an earlier release wrote get the numbers
  /// that their ids have under it.
  mutating func nameLeases() throws(StateStoreError) {
    var random = SystemRandomNumberGenerator()
    for part in 0..<4 {
      try run(
        "INSERT INTO meta VALUES(?, ?)", .text("lease_secret_\(part)"), .int(Int(Int64(bitPattern: random.next()))))
    }
    try readLeaseNames()
    // That a new number is one of the old ones has a chance of one in 2^32 at most, and would fail.
    let old = try rows("SELECT id, printf('lease-%016x', id) FROM lease") { row throws(StateStoreError) in
      (number: row.int(0), id: row.text(1))
    }
    for (number, id) in old {
      try run("UPDATE lease SET id = ? WHERE id = ?", .int(leaseNames.number(of: id)), .int(number))
    }
  }

  /// Reads the secret of the lease ids.
  mutating func readLeaseNames() throws(StateStoreError) {
    let parts = try rows("SELECT value FROM meta WHERE name LIKE 'lease_secret_%' ORDER BY name") {
      row throws(StateStoreError) in UInt64(bitPattern: Int64(row.int(0)))
    }
    guard parts.count == 4 else { throw .corrupted(path: path, reason: "the secret of its lease ids is missing") }
    leaseNames = LeaseNames(
      secret: parts.flatMap { part in (0..<8).map { UInt8(truncatingIfNeeded: part >> (8 * $0)) } })
  }
}

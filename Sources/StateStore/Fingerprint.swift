/// What tells one request's body from another: SHA-256 (FIPS 180-4), the same in every process and release.
///
/// Our own, since the libraries that have it are a hundred times its size to build, and nothing secret depends on it.
public enum Fingerprint {
  /// The 32 bytes of the hash of `bytes`.
  public static func of(_ bytes: [UInt8]) -> [UInt8] {
    var hash = initial
    var message = bytes
    message.append(0x80)
    message += [UInt8](repeating: 0, count: (120 - message.count % 64) % 64)
    message += bigEndian(UInt64(bytes.count) * 8)
    var schedule = [UInt32](repeating: 0, count: 64)
    for block in stride(from: 0, to: message.count, by: 64) { compress(message, at: block, &schedule, &hash) }
    return hash.flatMap { bigEndian($0) }
  }

  private static func compress(_ message: [UInt8], at block: Int, _ w: inout [UInt32], _ hash: inout [UInt32]) {
    for i in 0..<16 { w[i] = (0..<4).reduce(0) { $0 << 8 | UInt32(message[block + 4 * i + $1]) } }
    for i in 16..<64 {
      let low = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3
      let high = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10
      w[i] = w[i - 16] &+ low &+ w[i - 7] &+ high
    }
    var (a, b, c, d) = (hash[0], hash[1], hash[2], hash[3])
    var (e, f, g, h) = (hash[4], hash[5], hash[6], hash[7])
    for i in 0..<64 {
      let sumE = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
      let sumA = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
      let first = h &+ sumE &+ (e & f ^ ~e & g) &+ constants[i] &+ w[i]
      let second = sumA &+ (a & b ^ a & c ^ b & c)
      (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ second)
    }
    for (i, value) in [a, b, c, d, e, f, g, h].enumerated() { hash[i] &+= value }
  }

  private static func rotated(_ value: UInt32, _ bits: UInt32) -> UInt32 { value >> bits | value << (32 - bits) }

  private static func bigEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    stride(from: T.bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> T($0)) }
  }

  // The fractional parts of the square roots of the first 8 primes, and of the cube roots of the first 64.
  private static let primes = (2...311).filter { n in (2..<n).allSatisfy { n % $0 != 0 } }
  private static let initial = primes.prefix(8).map { root($0, power: 2) }
  private static let constants = primes.map { root($0, power: 3) }

  /// The first 32 bits of the fractional part of `prime`'s root: the greatest r with r^power <= prime * 2^(32 power).
  private static func root(_ prime: Int, power: Int) -> UInt32 {
    var root: UInt128 = 0
    for bit in (0...36).reversed() {
      let tried = root | 1 << bit
      let raised = power == 2 ? tried * tried : tried * tried * tried
      if raised <= UInt128(prime) << (32 * power) { root = tried }
    }
    return UInt32(truncatingIfNeeded: root)
  }
}

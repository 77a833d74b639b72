import Access

/// A token bucket, told by one number: when the bucket will be full again (the generic cell rate algorithm).
struct RateMeter: Sendable {
  /// A request's share of a second.
  let intervalNS: UInt64
  /// How many requests a full bucket has.
  let burst: UInt64
  private var fullAtNS: UInt64 = 0

  /// Nil where nothing limits the rate.
  init?(_ limits: KeyLimits) {
    guard let rate = limits.rate else { return nil }
    intervalNS = 1_000_000_000 / UInt64(max(rate, 1))
    burst = UInt64(max(limits.burst ?? rate, 1))
  }

  /// Takes a request out of the bucket; where there is none, returns how long it takes until there is one.
  mutating func take(nowNS: UInt64) -> UInt64? {
    let fullAtNS = max(fullAtNS, nowNS)
    let (missingNS, roomNS) = (fullAtNS - nowNS, (burst - 1) * intervalNS)
    guard missingNS <= roomNS else { return missingNS - roomNS }
    self.fullAtNS = fullAtNS + intervalNS
    return nil
  }
}

/// Decides when a guest that polls for input in vain sleeps, and for how long.
///
/// Only polls in quick succession count: a guest that works between its looks never sleeps. From the 16th on the guest naps,
/// first 50 µs, then twice as long each time, up to 10 ms. A guest that begins to work between looks again halves its naps
/// with each look, until there are none.
struct PollPacing: Sendable, Equatable, Codable {
  private static let pollsBeforeNaps = 16
  /// Polls that are further apart are looks between pieces of work.
  static let successionNS: UInt64 = 100_000
  /// How late a vCPU may come back from a nap: timer slack and a wake-up.
  static let oversleepNS: UInt64 = 100_000
  static let shortestNapNS: UInt64 = 50_000
  static let longestNapNS: UInt64 = 10_000_000

  private var polls = 0
  /// When the last poll was, or the nap after it ended.
  private var lastNS: UInt64 = 0
  /// 0: no nap yet.
  private var napNS: UInt64 = 0

  /// Whether polls can lead to it.
  var isPossible: Bool { (0...Self.pollsBeforeNaps).contains(polls) && napNS <= Self.longestNapNS }

  /// The guest did something else with the port, or there was input.
  mutating func reset() { self = PollPacing() }

  /// Counts a poll without input.
  /// - Returns: how long the guest is to nap; nil for not at all.
  mutating func emptyPoll(atNS now: UInt64) -> UInt64? {
    let limit = Self.successionNS + (napNS > 0 ? Self.oversleepNS : 0)
    let isQuick = now <= lastNS || now - lastNS <= limit
    if napNS == 0 {
      polls = isQuick ? min(polls + 1, Self.pollsBeforeNaps) : 1
      if polls == Self.pollsBeforeNaps { napNS = Self.shortestNapNS }
    } else if isQuick {
      napNS = min(2 * napNS, Self.longestNapNS)
    } else {
      napNS /= 2
      if napNS < Self.shortestNapNS { (napNS, polls) = (0, 1) }
    }
    // No overflow: naps are short, and the clock counts from the host's boot.
    lastNS = now &+ napNS
    return napNS > 0 ? napNS : nil
  }
}

/// What a benchmark found: every case, with both sides.
public struct BenchmarkReport: Codable, Sendable, Equatable {
  /// The name of the document's layout. A new layout gets a new name.
  public static let schema = "vmpool-bench/1"

  /// ``schema``.
  public var schema: String
  /// `kick`, `exits`, `create` or `clone`.
  public var benchmark: String
  /// vmpool's version.
  public var version: String
  /// When the benchmark began; RFC 3339, UTC.
  public var measuredAt: String
  /// The host on which it ran.
  public var host: HostDescription
  /// Whether the caller and the vCPUs were kept on different processors; there may be only one.
  public var isPinned: Bool
  /// What the rounds were like: numbers by name, with the unit in the name.
  public var settings: [String: Int]
  /// The cases, in the order in which the caller asked for them.
  public var cases: [BenchmarkCase]

  enum CodingKeys: String, CodingKey {
    case schema, benchmark, version, host, settings, cases
    case measuredAt = "measured_at"
    case isPinned = "pinned"
  }
}

/// What was measured, on both sides.
public struct BenchmarkCase: Codable, Sendable, Equatable {
  /// What was measured.
  public var subject: Subject
  /// The bare C loop, or the bare ioctls.
  public var bare: Side
  /// This server's code.
  public var vmpool: Side
  /// Ratios by name. Each round gives one, and these are their spreads. `latency_p50` and its like divide vmpool's figure by
  /// bare C's; the other names say what they divide.
  public var ratios: [String: Spread]

  /// What distinguishes a case from others of its benchmark.
  public struct Subject: Codable, Sendable, Hashable {
    /// How vCPUs are kicked, such as `immediate_exit`.
    public var mechanism: String
    /// What runs on them, such as `spin`.
    public var guest: String
    /// Threads that kick; 0 where there is nothing to kick.
    public var kickers: Int
    /// vCPUs of the one VM; for `exits`, VMs of one vCPU each.
    public var vcpus: Int
    /// Memory in MiB, where cases differ in it.
    public var memoryMiB: Int?
    /// Pages that the guest of a clone writes before each reset.
    public var dirtyPages: Int?

    enum CodingKeys: String, CodingKey {
      case mechanism, guest, kickers, vcpus
      case memoryMiB = "memory_mib"
      case dirtyPages = "dirty_pages"
    }
  }

  /// One side.
  public struct Side: Codable, Sendable, Equatable {
    /// Durations by ``Figure``, without those that did not occur.
    public var durations: [String: Distribution]
    /// How many kicks were `acknowledged`, `lost`, `coalesced`, `resent`, and in which phase they landed; `exits`. How many
    /// `clones` there were, how much private memory they took (`private_kib`), and how many `pages` resets put back.
    public var counts: [String: Int]
  }
}

/// Durations of one kind, in nanoseconds.
public struct Distribution: Codable, Sendable, Equatable {
  /// How many durations all rounds have together.
  public var count: Int
  /// The median.
  public var p50: UInt64
  /// Nine in ten are at most this.
  public var p90: UInt64
  /// 99 in a hundred are at most this.
  public var p99: UInt64
  /// 999 in a thousand are at most this.
  public var p999: UInt64
  /// The longest.
  public var max: UInt64
  /// The median of each round.
  public var roundP50: [UInt64]
  /// The 99th percentile of each round.
  public var roundP99: [UInt64]
  /// All durations, to three significant digits.
  public var histogram: HistogramBuckets

  enum CodingKeys: String, CodingKey {
    case count, max, histogram
    case p50 = "p50_ns"
    case p90 = "p90_ns"
    case p99 = "p99_ns"
    case p999 = "p999_ns"
    case roundP50 = "round_p50_ns"
    case roundP99 = "round_p99_ns"
  }
}

extension BenchmarkCase.Side {
  /// The durations of one kind, if there were any.
  public subscript(_ figure: Figure) -> Distribution? { durations[figure.rawValue] }
}

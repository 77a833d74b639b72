/// One kick's durations.
struct KickSample {
  /// From the request to KVM_RUN having returned.
  var latencyNS: UInt64
  /// From the request to the caller having seen the acknowledgement.
  var callNS: UInt64
}

/// The kicks of one side: one round's, or the summary of all rounds.
public struct KickFigures: Codable, Sendable, Equatable {
  /// From the request to KVM_RUN having returned.
  public var latency: Quantiles
  /// From the request to the caller having seen the acknowledgement.
  public var call: Quantiles
  /// Kicks that were not acknowledged within a second.
  public var lost: Int
  /// Acknowledged kicks by where they landed; nil for the bare C loop, which cannot tell.
  public var phases: [String: Int]?

  init(_ samples: [KickSample], lost: Int, phases: [String: Int]?) {
    latency = Quantiles(of: samples.map(\.latencyNS))
    call = Quantiles(of: samples.map(\.callNS))
    self.lost = lost
    self.phases = phases
  }

  /// Medians of the quantiles, sums of the counts.
  init(summaryOf rounds: [KickFigures]) {
    latency = Quantiles(mediansOf: rounds.map(\.latency))
    call = Quantiles(mediansOf: rounds.map(\.call))
    lost = rounds.reduce(0) { $0 + $1.lost }
    phases = rounds.compactMap(\.phases).reduce(nil) { sums, phases in
      (sums ?? [:]).merging(phases, uniquingKeysWith: +)
    }
  }

  enum CodingKeys: String, CodingKey {
    case lost, phases
    case latency = "latency_ns"
    case call = "call_ns"
  }
}

/// What `bench kick` found.
public struct KickReport: Codable, Sendable, Equatable {
  /// Both sides, one after the other.
  public struct Round: Codable, Sendable, Equatable {
    /// The bare C loop.
    public var bare: KickFigures
    /// This server's code.
    public var vmpool: KickFigures
  }

  /// Medians over rounds of each round's ratio, ours to bare, with their spread.
  public struct Ratios: Codable, Sendable, Equatable {
    /// Of the median latency.
    public var latencyP50: Spread
    /// Of the 99th percentile of the latency.
    public var latencyP99: Spread
    /// Of the median duration of the whole call.
    public var callP50: Spread
    /// Of its 99th percentile.
    public var callP99: Spread

    enum CodingKeys: String, CodingKey {
      case latencyP50 = "latency_p50"
      case latencyP99 = "latency_p99"
      case callP50 = "call_p50"
      case callP99 = "call_p99"
    }
  }

  /// `kick`.
  public var benchmark = "kick"
  /// Where it ran.
  public var host: HostDescription
  /// `immediate_exit` or `signal_mask`.
  public var mechanism: String
  /// The guest that was kicked.
  public var guest: String
  /// Kicks a round and side.
  public var kicksPerRound: Int
  /// How long both sides wait before each kick, so that it finds the vCPU in the guest.
  public var pauseNS: UInt64
  /// Whether the caller and the vCPUs were kept on two different processors; there may be only one.
  public var isPinned: Bool
  /// In the order they were run.
  public var rounds: [Round]
  /// The bare C loop over all rounds: medians of quantiles, sums of counts, the longest of all.
  public var bare: KickFigures
  /// This server's code, likewise.
  public var vmpool: KickFigures
  /// Ours to bare.
  public var ratios: Ratios

  init(host: HostDescription, _ benchmark: KickBenchmark, isPinned: Bool, rounds: [Round]) {
    self.host = host
    self.isPinned = isPinned
    mechanism = benchmark.mechanism.rawValue
    guest = KickBenchmark.guest
    kicksPerRound = benchmark.kicksPerRound
    pauseNS = KickBenchmark.pauseNS
    self.rounds = rounds
    bare = KickFigures(summaryOf: rounds.map(\.bare))
    vmpool = KickFigures(summaryOf: rounds.map(\.vmpool))
    func spread(_ figure: KeyPath<KickFigures, UInt64>) -> Spread {
      Spread(of: rounds.map { ratio($0.vmpool[keyPath: figure], to: $0.bare[keyPath: figure]) })
    }
    ratios = Ratios(
      latencyP50: spread(\.latency.p50), latencyP99: spread(\.latency.p99), callP50: spread(\.call.p50),
      callP99: spread(\.call.p99))
  }

  enum CodingKeys: String, CodingKey {
    case isPinned = "pinned"
    case benchmark, host, mechanism, guest, rounds, bare, vmpool, ratios
    case kicksPerRound = "kicks_per_round"
    case pauseNS = "pause_ns"
  }
}

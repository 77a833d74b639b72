/// What `bench exits` found.
public struct ExitReport: Codable, Sendable, Equatable {
  /// One side's window.
  public struct Count: Codable, Sendable, Equatable {
    /// Exits that were served in it.
    public var exits: UInt64
    /// Its length.
    public var ns: UInt64
    /// From one exit to the next.
    public var nsPerExit: Double

    init(exits: UInt64, ns: UInt64) {
      self.exits = exits
      self.ns = ns
      nsPerExit = ratio(ns, to: exits)
    }

    enum CodingKeys: String, CodingKey {
      case exits, ns
      case nsPerExit = "ns_per_exit"
    }
  }

  /// Both sides, one after the other.
  public struct Round: Codable, Sendable, Equatable {
    /// The bare C loop.
    public var bare: Count
    /// This server's code.
    public var vmpool: Count
  }

  /// Both sides on one guest.
  public struct Comparison: Codable, Sendable, Equatable {
    /// `pio` or `mmio`.
    public var guest: String
    /// In the order they were run.
    public var rounds: [Round] = []
    /// The bare C loop's nanoseconds from exit to exit, over rounds.
    public var bare = Spread(of: [])
    /// This server's.
    public var vmpool = Spread(of: [])
    /// Of each round, ours to bare.
    public var ratio = Spread(of: [])

    init(guest: String) { self.guest = guest }

    mutating func summarise() {
      bare = Spread(of: rounds.map(\.bare.nsPerExit))
      vmpool = Spread(of: rounds.map(\.vmpool.nsPerExit))
      ratio = Spread(of: rounds.map { Benchmarks.ratio($0.vmpool.nsPerExit, to: $0.bare.nsPerExit) })
    }

    enum CodingKeys: String, CodingKey {
      case guest, rounds, ratio
      case bare = "bare_ns_per_exit"
      case vmpool = "vmpool_ns_per_exit"
    }
  }

  /// `exits`.
  public var benchmark = "exits"
  /// Where it ran.
  public var host: HostDescription
  /// `immediate_exit` or `signal_mask`.
  public var mechanism: String
  /// The length that windows were meant to have.
  public var windowNS: UInt64
  /// Whether the caller and the vCPUs were kept on two different processors; there may be only one.
  public var isPinned: Bool
  /// One comparison a guest.
  public var guests: [Comparison]

  init(host: HostDescription, _ benchmark: ExitBenchmark, isPinned: Bool, guests: [Comparison]) {
    self.host = host
    self.isPinned = isPinned
    mechanism = benchmark.mechanism.rawValue
    windowNS = benchmark.windowNS
    self.guests = guests
  }

  enum CodingKeys: String, CodingKey {
    case isPinned = "pinned"
    case benchmark, host, mechanism, guests
    case windowNS = "window_ns"
  }
}

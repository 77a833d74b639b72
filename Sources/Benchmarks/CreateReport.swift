/// How long one side took: one round's VMs, or the summary of all rounds.
public struct CreateFigures: Codable, Sendable, Equatable {
  /// To make a VM that is ready to run.
  public var create: Quantiles
  /// To unmake it: its thread joined, its descriptors closed, its memory unmapped.
  public var destroy: Quantiles

  enum CodingKeys: String, CodingKey {
    case create = "create_ns"
    case destroy = "destroy_ns"
  }
}

/// What `bench create` found.
public struct CreateReport: Codable, Sendable, Equatable {
  /// Both sides, VM by VM.
  public struct Round: Codable, Sendable, Equatable {
    /// The bare ioctls.
    public var bare: CreateFigures
    /// This server's code.
    public var vmpool: CreateFigures
  }

  /// Medians over rounds of each round's ratio, ours to bare, with their spread.
  public struct Ratios: Codable, Sendable, Equatable {
    /// Of the median duration of creating.
    public var createP50: Spread
    /// Of the median duration of destroying.
    public var destroyP50: Spread

    enum CodingKeys: String, CodingKey {
      case createP50 = "create_p50"
      case destroyP50 = "destroy_p50"
    }
  }

  /// `create`.
  public var benchmark = "create"
  /// Where it ran.
  public var host: HostDescription
  /// `immediate_exit` or `signal_mask`.
  public var mechanism: String
  /// The guest that was loaded.
  public var guest: String
  /// Guest memory.
  public var memoryMiB: Int
  /// VMs a round and side.
  public var vmsPerRound: Int
  /// In the order they were run.
  public var rounds: [Round]
  /// The bare ioctls over all rounds: medians of quantiles, the longest of all.
  public var bare: CreateFigures
  /// This server's code, likewise.
  public var vmpool: CreateFigures
  /// Ours to bare.
  public var ratios: Ratios

  init(host: HostDescription, _ benchmark: CreateBenchmark, rounds: [Round]) {
    self.host = host
    mechanism = benchmark.mechanism.rawValue
    guest = CreateBenchmark.guest
    memoryMiB = TestBed.memoryMiB
    vmsPerRound = benchmark.vmsPerRound
    self.rounds = rounds
    func summary(_ side: KeyPath<Round, CreateFigures>) -> CreateFigures {
      CreateFigures(
        create: Quantiles(mediansOf: rounds.map { $0[keyPath: side].create }),
        destroy: Quantiles(mediansOf: rounds.map { $0[keyPath: side].destroy }))
    }
    func spread(_ figure: KeyPath<CreateFigures, Quantiles>) -> Spread {
      Spread(of: rounds.map { ratio($0.vmpool[keyPath: figure].p50, to: $0.bare[keyPath: figure].p50) })
    }
    bare = summary(\.bare)
    vmpool = summary(\.vmpool)
    ratios = Ratios(createP50: spread(\.create), destroyP50: spread(\.destroy))
  }

  enum CodingKeys: String, CodingKey {
    case benchmark, host, mechanism, guest, rounds, bare, vmpool, ratios
    case memoryMiB = "memory_mib"
    case vmsPerRound = "vms_per_round"
  }
}

import Foundation

/// The random numbers of a test, which can be had again: SplitMix64.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// The seed for a run of `test`: printed, and taken from VMPOOL_TEST_SEED to repeat a run.
  public static func seed(of test: String) -> UInt64 {
    let given = ProcessInfo.processInfo.environment["VMPOOL_TEST_SEED"].flatMap { UInt64($0) }
    let seed = given ?? UInt64.random(in: 0 ... .max)
    print("\(test): VMPOOL_TEST_SEED=\(seed)")
    return seed
  }

  /// The numbers of a run of `test`.
  public init(for test: String) { self.init(seed: Self.seed(of: test)) }

  /// The numbers that belong to `seed`.
  public init(seed: UInt64) { state = seed }

  /// The next number.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

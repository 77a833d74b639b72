import Foundation

/// A generator whose seed is printed, and taken from VMPOOL_TEST_SEED to repeat a run.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(_ test: String) {
    let given = ProcessInfo.processInfo.environment["VMPOOL_TEST_SEED"].flatMap { UInt64($0) }
    let seed = given ?? UInt64.random(in: 0 ... .max)
    print("\(test): VMPOOL_TEST_SEED=\(seed)")
    state = seed
  }

  // SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

import TestSupport
import Testing

@testable import StateStore

/// Lease ids: a permutation that shows nothing of the numbers.
@Suite struct LeaseNamesTests {
  private static let names = LeaseNames(secret: Array(0..<32))

  @Test func anIdLeadsToItsNumber() {
    var random = SeededGenerator(for: #function)
    let numbers = [0, 1, -1, .max, .min] + (0..<2000).map { _ in Int.random(in: .min ... .max, using: &random) }
    for number in numbers {
      let id = Self.names.id(of: number)
      #expect(id.utf8.count == 22 && id.hasPrefix("lease-") && Self.names.number(of: id) == number)
    }
    // Every id leads to a number, those that earlier releases gave out, too.
    let old = "lease-18eb0123456789ab"
    #expect(Self.names.number(of: old).map(Self.names.id) == old)
  }

  /// Neighbours differ in half of their bits, as random numbers do, and in a way that only the secret says.
  @Test func nextToEachOtherNothingIsAlike() {
    let other = LeaseNames(secret: Array(1..<33))
    func bits(_ names: LeaseNames, _ number: Int) -> UInt64 {
      UInt64(names.id(of: number).dropFirst(6), radix: 16) ?? 0
    }
    var differences = 0
    var ids: Set<UInt64> = []
    let start = 1_764_500_000_000_000_000
    for number in start..<start + 1000 {
      let id = bits(Self.names, number)
      ids.insert(id)
      differences += (id ^ bits(Self.names, number + 1)).nonzeroBitCount
      differences += (id ^ bits(other, number)).nonzeroBitCount
    }
    #expect(ids.count == 1000)
    // 2000 comparisons of 64 bits, whose standard deviation is 179.
    #expect(abs(differences - 64_000) < 2000, "\(differences)")
  }

  @Test func eachStateHasASecretOfItsOwnAndKeepsIt() throws {
    let scratch = try Scratch()
    let (one, other) = try (StateDatabase.open(directory: nil), StateDatabase.open(directory: scratch.path))
    let id = other.leaseID(7)
    #expect(one.leaseID(7) != id)
    other.close()
    #expect(try StateDatabase.open(directory: scratch.path).leaseID(7) == id)
  }
}

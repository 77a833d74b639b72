import Synchronization
import TestSupport
import Testing

@testable import Containers

@Suite struct SortedMapTests {
  /// Each page begins behind the last one's end, and all of them have everything once.
  @Test(arguments: [1, 2, 7, 100, Int.max]) func pagesHaveEverythingInOrder(limit: Int) {
    var random = SeededGenerator(for: "SortedMap")
    var (map, model) = (SortedMap<Int, String>(), [Int: String]())
    for _ in 0..<500 {
      let key = Int.random(in: 0..<200, using: &random)
      let value = Bool.random(using: &random) ? "\(key)" : nil
      (map[key], model[key]) = (value, value)
      #expect(map.count == model.count && map[key] == value)
    }
    #expect(map.keys == model.keys.sorted())
    #expect(map.values.sorted() == model.values.sorted())
    var found: [Int] = []
    while true {
      let (items, goesOn) = map.page(after: found.last, limit: limit)
      #expect(items.count <= limit)
      for (key, value) in items { #expect(value == model[key]) }
      found += items.map(\.key)
      if !goesOn { break }
    }
    #expect(found == map.keys)
  }

  @Test func aPageBeginsBehindAKeyThatIsGone() {
    var map = SortedMap<String, Int>()
    for (number, key) in ["b", "d", "f"].enumerated() { map[key] = number }
    #expect(map.page(after: "c", limit: 1).items.map(\.key) == ["d"])
    #expect(map.page(after: "c", limit: 1).goesOn)
    #expect(map.page(after: "f", limit: 1).items.isEmpty && !map.page(after: "f", limit: 1).goesOn)
    #expect(map.page(after: "a", limit: 3).items.map(\.key) == ["b", "d", "f"])
    #expect(SortedMap<String, Int>().page(after: nil, limit: 1).items.isEmpty)
  }

  /// What a page costs does not depend on how many there are: comparisons are counted, and looks into the table.
  @Test func aPageCostsAPage() {
    var map = SortedMap<Counted, Int>()
    for number in 0..<10_000 { map[Counted(number: number)] = number }
    let before = Counted.work.load(ordering: .relaxed)
    #expect(map.page(after: Counted(number: 4999), limit: 10).items.map(\.value) == Array(5000..<5010))
    let work = Counted.work.load(ordering: .relaxed) - before
    #expect(work <= 100, "a page of 10 among 10 000 took \(work) comparisons and looks")
  }
}

/// A key that counts how often it is compared or looked up.
private struct Counted: Hashable, Comparable {
  static let work = Atomic(0)

  let number: Int

  static func < (one: Counted, other: Counted) -> Bool {
    work.add(1, ordering: .relaxed)
    return one.number < other.number
  }

  static func == (one: Counted, other: Counted) -> Bool {
    work.add(1, ordering: .relaxed)
    return one.number == other.number
  }

  func hash(into hasher: inout Hasher) {
    Self.work.add(1, ordering: .relaxed)
    hasher.combine(number)
  }
}

import APIModel
import Testing

@testable import Control

@Suite struct EventPositionTests {
  @Test(arguments: [
    ("a-1", "a", 1), ("a-b-18446744073709551615", "a-b", UInt64.max), ("-0", "", 0),
  ])
  func positions(_ text: String, _ epoch: String, _ sequence: UInt64) {
    #expect(EventPosition(text) == EventPosition(epoch: epoch, sequence: sequence))
  }

  @Test(arguments: ["", "a", "a-", "1", "a-x", "a--1", "a-18446744073709551616", "a-1 "])
  func noPositions(_ text: String) { #expect(EventPosition(text) == nil || text == "a--1") }
}

@Suite struct EventHistoryTests {
  private static func history(_ count: Int, capacity: Int = 4) -> EventHistory {
    var history = EventHistory(capacity: capacity)
    for number in 0..<count { history.append(event(number + 1)) }
    return history
  }

  private static func event(_ number: Int) -> EventDocument {
    EventDocument(type: "test", at: "", pool: "p\((number - 1) % 2)", detail: "\(number)")
  }

  /// Published, kept, seen, and then: which ones come, or nil for a reset.
  @Test(arguments: [
    (0, 0, [] as [UInt64]?), (1, 0, [1]), (4, 0, [1, 2, 3, 4]), (5, 0, nil), (5, 1, [2, 3, 4, 5]), (5, 4, [5]),
    (5, 5, []), (100, 95, nil), (100, 96, [97, 98, 99, 100]),
  ])
  func excerpts(_ published: Int, _ seen: UInt64, _ expected: [UInt64]?) {
    let excerpt = Self.history(published).entries(after: seen)
    #expect(excerpt.isIncomplete == (expected == nil))
    if let expected { #expect(excerpt.entries.map(\.sequence) == expected) }
    #expect(excerpt.position.sequence == UInt64(published))
  }

  @Test func excerptsUpToOne() {
    let history = Self.history(10, capacity: 8)
    #expect(history.entries(after: 4, through: 6).entries.map(\.sequence) == [5, 6])
    #expect(history.entries(after: 6, through: 4).entries.isEmpty)
    #expect(!history.entries(after: 6, through: 4).isIncomplete)
    #expect(history.entries(after: 0, through: 1).isIncomplete)
    #expect(history.entries(after: 1, through: 4).isIncomplete)
  }

  @Test func openings() {
    let history = Self.history(6)
    func opening(_ id: String?, _ filter: EventFilter = EventFilter(), limit: Int? = nil) -> EventOpening {
      history.opening(after: id, filter, limit: limit)
    }
    func placed(_ numbers: UInt64...) -> [PlacedEvent] {
      numbers.map { PlacedEvent(position: history.position($0), event: Self.event(Int($0))) }
    }

    #expect(opening(nil).events.isEmpty && opening(nil).position == history.position(6))
    #expect(opening("\(history.position(6))").events.isEmpty)
    #expect(opening("\(history.position(4))").events == placed(5, 6))
    #expect(opening("\(history.position(4))", EventFilter(pool: "p1")).events == placed(6))
    #expect(opening("\(history.position(4))", EventFilter(vm: "vm-0")).events.isEmpty)
    let limited = opening("\(history.position(2))", limit: 3)
    #expect(limited.events == placed(3, 4, 5))
    #expect(limited.remaining == 0 && limited.isAll)
    #expect(opening("\(history.position(4))", limit: 3).remaining == 1)
    for id in ["\(history.position(1))", "\(history.position(7))", "000000000000-6", "nonsense", "-", "🦀"] {
      let reset = opening(id, limit: 5)
      #expect(reset.events.map(\.event.type) == ["reset"] && reset.events[0].position == history.position(6))
      #expect(reset.remaining == 4 && reset.position.sequence == 6)
    }
  }

  @Test func everyRunHasAnEpochOfItsOwn() {
    let epochs = Set((0..<100).map { _ in EventHistory(capacity: 1).position(0).epoch })
    #expect(epochs.count == 100 && epochs.allSatisfy { $0.count == 12 && $0.allSatisfy(\.isHexDigit) })
  }
}

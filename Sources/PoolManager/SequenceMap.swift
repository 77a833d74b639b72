import DequeModule

/// Values under numbers that grow, in their order: a queue from whose middle values can be taken, and a list that is
/// read page by page.
///
/// Adding at the end and taking from the front cost amortised O(1), finding and taking by number O(log n). What is taken
/// from the middle leaves a gap, and a map that is mostly gaps is packed.
struct SequenceMap<Value: Sendable>: Sendable {
  private struct Entry: Sendable {
    let number: UInt64
    var value: Value?
  }

  // Neither the first nor the last entry is a gap.
  private var entries: Deque<Entry> = []
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }
  var first: Value? { entries.first?.value }
  var last: Value? { entries.last?.value }

  subscript(_ number: UInt64) -> Value? { place(of: number).flatMap { entries[$0].value } }

  /// The values after the one with `number` (nil: from the first), at most `limit`, with their numbers.
  func page(after number: UInt64?, limit: Int) -> [(number: UInt64, value: Value)] {
    var page: [(number: UInt64, value: Value)] = []
    var place = number.map { firstPlace(above: $0) } ?? 0
    while place < entries.count, page.count < limit {
      if let value = entries[place].value { page.append((entries[place].number, value)) }
      place += 1
    }
    return page
  }

  /// All values, in order.
  var values: [Value] { prefix(count) }

  /// The first `count` values, or all there are.
  func prefix(_ count: Int) -> [Value] {
    var found: [Value] = []
    for entry in entries where found.count < count {
      if let value = entry.value { found.append(value) }
    }
    return found
  }

  /// Puts a value where its number belongs; replaces the one that has its number.
  mutating func insert(_ value: Value, at number: UInt64) {
    guard let last = entries.last, last.number >= number else {
      entries.append(Entry(number: number, value: value))
      count += 1
      return
    }
    if let place = place(of: number) {
      if entries[place].value == nil { count += 1 }
      entries[place].value = value
    } else {
      entries.insert(Entry(number: number, value: value), at: firstPlace(above: number))
      count += 1
    }
  }

  @discardableResult
  mutating func popFirst() -> (number: UInt64, value: Value)? {
    guard let entry = entries.popFirst(), let value = entry.value else { return nil }
    count -= 1
    trim()
    return (entry.number, value)
  }

  @discardableResult
  mutating func remove(_ number: UInt64) -> Value? {
    guard let place = place(of: number), let value = entries[place].value else { return nil }
    entries[place].value = nil
    count -= 1
    trim()
    return value
  }

  private mutating func trim() {
    while let first = entries.first, first.value == nil { entries.removeFirst() }
    while let last = entries.last, last.value == nil { entries.removeLast() }
    if entries.count > 2 * count + 32 { entries.removeAll { $0.value == nil } }
  }

  private func place(of number: UInt64) -> Int? {
    let place = firstPlace(above: number) - 1
    return place >= 0 && entries[place].number == number ? place : nil
  }

  /// The place of the first entry whose number is above `number`.
  private func firstPlace(above number: UInt64) -> Int {
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].number > number { high = middle } else { low = middle + 1 }
    }
    return low
  }
}

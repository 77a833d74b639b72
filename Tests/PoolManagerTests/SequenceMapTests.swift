import TestSupport
import Testing

@testable import PoolManager

/// The map against an array that does the same slowly.
struct SequenceMapTests {
  @Test func doesWhatAnArrayDoes() {
    var random = SeededGenerator(for: #function)
    var map = SequenceMap<Int>()
    var model: [(number: UInt64, value: Int)] = []
    var next: UInt64 = 1
    for step in 0..<20_000 {
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<4:
        map.insert(step, at: next)
        model.append((next, step))
        next += UInt64.random(in: 1...3, using: &random)
      case 4:
        // Back where it was, or in the place of another.
        let number = UInt64.random(in: 0..<next, using: &random)
        map.insert(step, at: number)
        model.removeAll { $0.number == number }
        model.append((number, step))
        model.sort { $0.number < $1.number }
      case 5..<8:
        let number = model.randomElement(using: &random)?.number ?? next
        let found = model.firstIndex { $0.number == number }.map { model.remove(at: $0).value }
        #expect(map.remove(number) == found)
      default:
        let first = model.isEmpty ? nil : model.removeFirst()
        let popped = map.popFirst()
        #expect(popped?.number == first?.number && popped?.value == first?.value)
      }
      if model.count > 200 {
        while model.count > 20 { map.remove(model.removeFirst().number) }
      }
      #expect(map.count == model.count && map.isEmpty == model.isEmpty && map.first == model.first?.value)
      guard step % 50 == 0 else { continue }
      #expect(map.values == model.map(\.value))
      let start = UInt64.random(in: 0...next, using: &random)
      let page = map.page(after: start, limit: 7)
      let expected = model.filter { $0.number > start }.prefix(7)
      #expect(page.map(\.number) == expected.map(\.number) && page.map(\.value) == expected.map(\.value))
      for (number, value) in model { #expect(map[number] == value) }
      #expect(map.remove(next + 1) == nil && map[next + 1] == nil)
    }
  }
}

/// What is counted where it changes is what counting finds.
struct InventoryTests {
  @Test func countsAndPagesAreThoseOfTheItems() {
    var random = SeededGenerator(for: #function)
    var inventory = Inventory<Int>()
    var model: [String: (number: UInt64, pool: Int?, item: Int, state: String)] = [:]
    let states = ["ready", "running", "stopped"]
    for step in 0..<5000 {
      let id = model.keys.sorted().randomElement(using: &random)
      switch Int.random(in: 0..<4, using: &random) {
      case 0:
        let pool = [nil, 1, 2].randomElement(using: &random)!
        inventory.insert(step, id: "\(step)", number: UInt64(step), pool: pool, tenant: .standard, state: "ready")
        model["\(step)"] = (UInt64(step), pool, step, "ready")
      case 1:
        guard let id else { continue }
        let state = states.randomElement(using: &random)!
        inventory.setState(id, state)
        model[id]?.state = state
      case 2:
        guard let id else { continue }
        inventory.replace(id, with: -step)
        model[id]?.item = -step
      default:
        guard let id, model.count > 20 else { continue }
        #expect(inventory.remove(id)?.item == model.removeValue(forKey: id)?.item)
        #expect(inventory.remove(id) == nil)
      }
      guard step % 20 == 0 else { continue }
      let sorted = model.values.sorted { $0.number < $1.number }
      #expect(inventory.count == model.count && inventory.items == sorted.map(\.item))
      for pool in [nil, 1, 2] {
        let own = sorted.filter { $0.pool == pool }
        #expect(inventory.items(of: pool) == own.map(\.item))
        for state in states {
          #expect(inventory.counts(of: pool)[state, default: 0] == own.count { $0.state == state })
        }
      }
    }
  }
}

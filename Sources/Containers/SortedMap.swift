/// Values under keys that have an order: found by key, and listed page by page.
///
/// Finding a value costs a look into a hash table. A page costs what it has, and as many comparisons as there are binary
/// digits in the count. Adding and removing a key also move the keys behind it, as memory is moved.
public struct SortedMap<Key: Hashable & Comparable & Sendable, Value: Sendable>: Sendable {
  private var entries: [Key: Value] = [:]
  /// The keys, in their order.
  public private(set) var keys: [Key] = []

  /// An empty map.
  public init() {}

  /// How many there are.
  public var count: Int { keys.count }

  /// All values, in no order.
  public var values: some Collection<Value> { entries.values }

  /// The value of a key; nil where there is none.
  public subscript(_ key: Key) -> Value? {
    get { entries[key] }
    set {
      guard let newValue else {
        if entries.removeValue(forKey: key) != nil { keys.remove(at: firstPlace(above: key) - 1) }
        return
      }
      if entries.updateValue(newValue, forKey: key) == nil { keys.insert(key, at: firstPlace(above: key)) }
    }
  }

  /// At most `limit` values behind `key` (nil: from the first), in the order of their keys, and whether more follow.
  public func page(after key: Key?, limit: Int) -> (items: [(key: Key, value: Value)], goesOn: Bool) {
    let rest = keys[(key.map { firstPlace(above: $0) } ?? 0)...]
    let items = rest.prefix(limit).compactMap { key in entries[key].map { (key, $0) } }
    return (items, rest.count > limit)
  }

  /// The place of the first key above `key`.
  private func firstPlace(above key: Key) -> Int {
    var (low, high) = (0, keys.count)
    while low < high {
      let middle = (low + high) / 2
      if key < keys[middle] { high = middle } else { low = middle + 1 }
    }
    return low
  }
}

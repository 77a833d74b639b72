import Access

/// Things of pools and tenants (VMs, leases), found by id and listed page by page in the order of their numbers. Each change of a state
/// changes the counts by state, so that no request counts or sorts them.
struct Inventory<Item: Sendable>: Sendable {
  private struct Entry: Sendable {
    let number: UInt64
    let pool: Ledger.PoolKey?
    var tenant: Tenant
    var item: Item
    var state: String
  }

  private struct Group: Sendable {
    var items = SequenceMap<Item>()
    var counts: [String: Int] = [:]
  }

  private var entries: [String: Entry] = [:]
  private var all = SequenceMap<Item>()
  private var groups: [Ledger.PoolKey?: Group] = [:]
  private var owned: [Tenant: SequenceMap<Item>] = [:]

  var count: Int { entries.count }

  subscript(_ id: String) -> Item? { entries[id]?.item }

  /// Of those of a pool (nil: of none), how many are in each state.
  func counts(of pool: Ledger.PoolKey?) -> [String: Int] { groups[pool]?.counts ?? [:] }

  /// All of a pool (nil: of none), the oldest first.
  func items(of pool: Ledger.PoolKey?) -> [Item] { groups[pool]?.items.values ?? [] }

  /// All, the oldest first.
  var items: [Item] { all.values }

  /// A page of those of a tenant (nil: of all).
  func page(ofTenant tenant: Tenant?, after number: UInt64?, limit: Int) -> [(number: UInt64, value: Item)] {
    guard let tenant else { return all.page(after: number, limit: limit) }
    return owned[tenant]?.page(after: number, limit: limit) ?? []
  }

  func page(of pool: Ledger.PoolKey?, after number: UInt64?, limit: Int) -> [(number: UInt64, value: Item)] {
    groups[pool]?.items.page(after: number, limit: limit) ?? []
  }

  /// Adds an item; its number is above those of all before it, as a rule.
  mutating func insert(
    _ item: Item, id: String, number: UInt64, pool: Ledger.PoolKey?, tenant: Tenant, state: String
  ) {
    entries[id] = Entry(number: number, pool: pool, tenant: tenant, item: item, state: state)
    all.insert(item, at: number)
    owned[tenant, default: SequenceMap()].insert(item, at: number)
    groups[pool, default: Group()].items.insert(item, at: number)
    groups[pool]?.counts[state, default: 0] += 1
  }

  /// Puts another item in the place of the one with that id.
  mutating func replace(_ id: String, with item: Item) {
    guard let index = entries.index(forKey: id) else { return }
    entries.values[index].item = item
    let entry = entries.values[index]
    all.insert(item, at: entry.number)
    owned[entry.tenant]?.insert(item, at: entry.number)
    groups[entry.pool]?.items.insert(item, at: entry.number)
  }

  /// An item is another tenant's from now on.
  mutating func setTenant(_ id: String, _ tenant: Tenant) {
    guard let index = entries.index(forKey: id), entries.values[index].tenant != tenant else { return }
    disown(entries.values[index])
    entries.values[index].tenant = tenant
    owned[tenant, default: SequenceMap()].insert(entries.values[index].item, at: entries.values[index].number)
  }

  private mutating func disown(_ entry: Entry) {
    owned[entry.tenant]?.remove(entry.number)
    if owned[entry.tenant]?.isEmpty == true { owned[entry.tenant] = nil }
  }

  mutating func setState(_ id: String, _ state: String) {
    guard let index = entries.index(forKey: id) else { return }
    let entry = entries.values[index]
    entries.values[index].state = state
    groups[entry.pool]?.counts[entry.state, default: 0] -= 1
    groups[entry.pool]?.counts[state, default: 0] += 1
  }

  /// Takes an item out; nil where there is none of that id.
  mutating func remove(_ id: String) -> (item: Item, number: UInt64, pool: Ledger.PoolKey?, state: String)? {
    guard let entry = entries.removeValue(forKey: id) else { return nil }
    all.remove(entry.number)
    disown(entry)
    groups[entry.pool]?.items.remove(entry.number)
    groups[entry.pool]?.counts[entry.state, default: 0] -= 1
    if groups[entry.pool]?.items.isEmpty == true { groups[entry.pool] = nil }
    return (entry.item, entry.number, entry.pool, entry.state)
  }
}

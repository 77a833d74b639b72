import Access
import Containers

/// The clients that wait for a VM of one pool: fair between tenants first, and within a tenant by arrival.
///
/// Start-time fair queueing (Goyal, Vin and Cheng, 1996). Each tenant has a line of its own, and the first of a line has a
/// start on a virtual clock. The earliest start is served next, and the clock goes to that start. The next of the same line
/// starts later by 1 / weight. A tenant that has not waited starts at what the clock says, so a long line of another tenant
/// never pushes it back. While two lines are there, their services differ from their weights by at most one for each.
///
/// Finding a place costs as many comparisons as the number of lines has binary digits.
struct FairQueue: Sendable {
  /// The clients of one tenant. It is kept without any until the clock has come to its start: by then it has had its share.
  private struct Line: Sendable {
    var waiters = SequenceMap<Waiter>()
    /// When its first starts, or would.
    var start: UInt64

    var turn: Turn? { waiters.first.map { Turn(start: start, waiter: $0.id) } }
  }

  /// Of lines with the same start the one whose first came first.
  private struct Turn: Sendable, Hashable, Comparable {
    let start: UInt64
    let waiter: UInt64

    static func < (one: Turn, other: Turn) -> Bool { (one.start, one.waiter) < (other.start, other.waiter) }
  }

  private struct Length: Sendable, Hashable, Comparable {
    let count: Int
    let tenant: Tenant

    static func < (one: Length, other: Length) -> Bool {
      (one.count, one.tenant.name) < (other.count, other.tenant.name)
    }
  }

  /// What one service costs a tenant of weight 1.
  private static let service: UInt64 = 1 << 20

  private var lines: [Tenant: Line] = [:]
  private var turns = SortedMap<Turn, Tenant>()
  private var lengths = SortedMap<Length, Tenant>()
  private var tenants: [UInt64: Tenant] = [:]
  private var clock: UInt64 = 0

  var count: Int { tenants.count }
  var isEmpty: Bool { tenants.isEmpty }
  /// How many lines there are, those without any client that have had more than their share among them.
  var lineCount: Int { lines.count }

  /// Who is served next.
  var first: Waiter? { firstTenant.flatMap { lines[$0]?.waiters.first } }

  private var firstTenant: Tenant? { turns.keys.first.flatMap { turns[$0] } }

  /// The client of that number.
  subscript(_ id: UInt64) -> Waiter? { tenants[id].flatMap { lines[$0]?.waiters[id] } }

  /// How many of a tenant wait.
  func count(of tenant: Tenant) -> Int { lines[tenant]?.waiters.count ?? 0 }

  /// A client comes; its number is above those of all before it.
  mutating func insert(_ waiter: Waiter) {
    tenants[waiter.id] = waiter.tenant
    change(waiter.tenant) { line, clock in
      if line.waiters.isEmpty { line.start = max(line.start, clock) }
      line.waiters.insert(waiter, at: waiter.id)
    }
  }

  /// Takes out who is served next, whose tenant has that weight.
  @discardableResult
  mutating func serveFirst(weight: Int) -> Waiter? {
    guard let turn = turns.keys.first, let tenant = turns[turn] else { return nil }
    clock = turn.start
    return take(turn.waiter, tenant) { $0.start = turn.start + Self.service / UInt64(max(weight, 1)) }
  }

  /// Takes out a client that is not served; nil where there is none of that number.
  @discardableResult
  mutating func remove(_ id: UInt64) -> Waiter? {
    guard let tenant = tenants[id] else { return nil }
    return take(id, tenant) { _ in }
  }

  /// Whose client makes room for one of `tenant` where the queue is full: the last of the longest line. Nil where that is not
  /// longer than the line of `tenant` would be.
  func displaceable(by tenant: Tenant) -> Waiter? {
    guard let longest = lengths.keys.last, longest.count > count(of: tenant) + 1 else { return nil }
    return lines[longest.tenant]?.waiters.last
  }

  private mutating func take(_ id: UInt64, _ tenant: Tenant, _ body: (inout Line) -> Void) -> Waiter? {
    tenants[id] = nil
    let waiter = change(tenant) { line, _ in
      body(&line)
      return line.waiters.remove(id)
    }
    forgetIdle()
    return waiter
  }

  /// Changes a line, and its places in the orders of turns and of lengths with it.
  @discardableResult
  private mutating func change<Value>(_ tenant: Tenant, _ body: (inout Line, _ clock: UInt64) -> Value) -> Value {
    // Taken out and put back, so that no second reference to it makes a copy of all that wait.
    var line = lines.removeValue(forKey: tenant) ?? Line(start: clock)
    let before = (line.turn, line.waiters.count)
    let value = body(&line, clock)
    if let turn = before.0 { turns[turn] = nil }
    if let turn = line.turn { turns[turn] = tenant }
    if before.1 != line.waiters.count {
      if before.1 > 0 { lengths[Length(count: before.1, tenant: tenant)] = nil }
      if !line.waiters.isEmpty { lengths[Length(count: line.waiters.count, tenant: tenant)] = tenant }
    }
    lines[tenant] = line
    return value
  }

  private mutating func forgetIdle() {
    guard !isEmpty else {
      self = FairQueue()
      return
    }
    guard lines.count > 2 * turns.count + 32 else { return }
    lines = lines.filter { !$1.waiters.isEmpty || $1.start > clock }
  }
}

/// A client that wants a VM.
struct Waiter: Sendable, Equatable {
  let id: UInt64
  /// Whose lease it will be.
  var tenant = Tenant.standard
  /// The name that the lease will have.
  let leaseID: String
  let ttlNS: UInt64
  /// When it gives up.
  let untilNS: UInt64
}

import Access
import TestSupport
import Testing

@testable import PoolManager

/// The queue of a pool: between tenants by their weights, within a tenant by arrival.
@Suite struct FairQueueTests {
  private static let tenants = ["default", "acme", "beta", "gamma"].compactMap { Tenant($0) }
  private static func tenant(_ name: String) -> Tenant { Tenant(name)! }

  private static func waiter(_ id: UInt64, _ tenant: Tenant) -> Waiter {
    Waiter(id: id, tenant: tenant, leaseID: "lease-\(id)", ttlNS: 1, untilNS: 1)
  }

  /// The same, slowly: a list of all that wait, of which the earliest start is looked for.
  private struct Model {
    var waiting: [Waiter] = []
    var starts: [Tenant: Double] = [:]
    var clock = 0.0

    mutating func insert(_ waiter: Waiter) {
      if !waiting.contains(where: { $0.tenant == waiter.tenant }) {
        starts[waiter.tenant] = max(starts[waiter.tenant] ?? 0, clock)
      }
      waiting.append(waiter)
    }

    var first: Waiter? {
      let heads = Dictionary(grouping: waiting, by: \.tenant).values.compactMap { $0.min { $0.id < $1.id } }
      return heads.min { (starts[$0.tenant] ?? 0, $0.id) < (starts[$1.tenant] ?? 0, $1.id) }
    }

    mutating func serve(weight: Int) {
      guard let first else { return }
      clock = starts[first.tenant] ?? 0
      starts[first.tenant] = clock + 1 / Double(weight)
      remove(first.id)
    }

    mutating func remove(_ id: UInt64) {
      waiting.removeAll { $0.id == id }
      if waiting.isEmpty { self = Model() }
    }
  }

  @Test func doesWhatAListDoes() {
    var random = SeededGenerator(for: #function)
    var queue = FairQueue()
    var model = Model()
    var next: UInt64 = 1
    // Powers of two, whose parts are exact in both.
    let weights = [1, 2, 4, 8]
    for step in 0..<30_000 {
      // Now more come, now more go.
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<(step / 500 % 2 == 0 ? 6 : 3):
        let waiter = Self.waiter(next, Self.tenants.randomElement(using: &random)!)
        next += UInt64.random(in: 1...3, using: &random)
        queue.insert(waiter)
        model.insert(waiter)
      case 9:
        let id = model.waiting.randomElement(using: &random)?.id ?? next
        let expected = model.waiting.first { $0.id == id }
        model.remove(id)
        #expect(queue.remove(id) == expected)
      default:
        let expected = model.first
        let weight = expected.flatMap { Self.tenants.firstIndex(of: $0.tenant) }.map { weights[$0] } ?? 1
        model.serve(weight: weight)
        #expect(queue.serveFirst(weight: weight) == expected)
      }
      #expect(queue.first == model.first && queue.count == model.waiting.count)
      #expect(queue.isEmpty == model.waiting.isEmpty && queue[next] == nil)
      guard step % 20 == 0 else { continue }
      for tenant in Self.tenants {
        #expect(queue.count(of: tenant) == model.waiting.count { $0.tenant == tenant })
        expectDisplaceable(queue, model, tenant)
      }
      for waiter in model.waiting { #expect(queue[waiter.id] == waiter) }
    }
  }

  private func expectDisplaceable(_ queue: FairQueue, _ model: Model, _ tenant: Tenant) {
    let lines = Dictionary(grouping: model.waiting, by: \.tenant)
    let longest = lines.values.max { ($0.count, $0[0].tenant.name) < ($1.count, $1[0].tenant.name) } ?? []
    let expected = longest.count > (lines[tenant]?.count ?? 0) + 1 ? longest.max { $0.id < $1.id } : nil
    #expect(queue.displaceable(by: tenant) == expected)
  }

  @Test func theLineOfOneTenantIsByArrival() {
    var queue = FairQueue()
    for id in UInt64(1)...100 { queue.insert(Self.waiter(id, .standard)) }
    queue.remove(50)
    var served: [UInt64] = []
    while let waiter = queue.serveFirst(weight: 3) { served.append(waiter.id) }
    #expect(served == (1...100).filter { $0 != 50 })
  }

  /// While all of them wait, each gets its share of every stretch of services, but for one or two.
  @Test func sharesFollowTheWeights() {
    let weights = [1, 2, 3, 10]
    var queue = FairQueue()
    var id: UInt64 = 0
    for tenant in Self.tenants {
      for _ in 0..<1000 {
        id += 1
        queue.insert(Self.waiter(id, tenant))
      }
    }
    var served = [0, 0, 0, 0]
    for round in 1...1000 {
      guard let place = queue.first.flatMap({ Self.tenants.firstIndex(of: $0.tenant) }) else { break }
      queue.serveFirst(weight: weights[place])
      served[place] += 1
      for other in weights.indices {
        let share = Double(round) * Double(weights[other]) / Double(weights.reduce(0, +))
        #expect(abs(Double(served[other]) - share) < 2.5, "\(served) of \(round)")
      }
    }
  }

  /// A tenant that comes, is served and comes again has no more than its share either.
  @Test func whoComesAgainAtOnceDoesNotOvertake() {
    var queue = FairQueue()
    for id in UInt64(1)...100 { queue.insert(Self.waiter(id, .standard)) }
    let other = Self.tenant("acme")
    var served: [Tenant] = []
    for round in UInt64(0)..<40 {
      if queue.count(of: other) == 0 { queue.insert(Self.waiter(1000 + round, other)) }
      if let waiter = queue.serveFirst(weight: 1) { served.append(waiter.tenant) }
    }
    #expect(served.count { $0 == other } == 20)
    // Nor does it get more for having been away.
    for _ in 0..<20 { queue.serveFirst(weight: 1) }
    for id in UInt64(2000)..<2010 { queue.insert(Self.waiter(id, other)) }
    let next = (0..<10).compactMap { _ in queue.serveFirst(weight: 1)?.tenant }
    #expect((4...6).contains(next.count { $0 == other }), "\(next)")
  }

  /// What is known of tenants that do not wait is forgotten once they have had their share.
  @Test func tenantsThatHaveGoneLeaveNothing() {
    var queue = FairQueue()
    for id in UInt64(1)...5000 { queue.insert(Self.waiter(id, .standard)) }
    for number in UInt64(0)..<2000 {
      queue.insert(Self.waiter(10_000 + number, Self.tenant("t\(number)")))
      queue.serveFirst(weight: 1)
      queue.serveFirst(weight: 1)
      #expect(queue.lineCount < 100)
    }
  }
}

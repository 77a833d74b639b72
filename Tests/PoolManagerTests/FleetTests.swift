import GuestImages
import LinuxSupport
import MachineRuntime
import PoolManager
import Synchronization
import TestSupport
import Testing
import VCPURuntime

/// The fleet on machines that are not there: its threads, its tables, its promises.
struct FleetTests {
  private let factory: FakeFactory
  private let journal = FakeJournal()
  private let events = EventRecorder()
  private let fleet: Fleet
  private static let second: UInt64 = 1_000_000_000

  init() {
    let events = events
    factory = FakeFactory { events.append("destroyed") }
    fleet = Self.fleet(factory, journal, events)
  }

  private static func fleet(
    _ factory: FakeFactory, _ journal: FakeJournal, _ events: EventRecorder, retirementNS: UInt64 = 5 * second
  ) -> Fleet {
    Fleet(
      factory: factory, mechanism: .immediateExit,
      limits: FleetLimits(creations: 2, retirementNS: retirementNS), journal: journal,
      observer: { events.append($0) })
  }

  private func specification(_ ready: Int, maxVMs: Int? = nil) throws -> PoolSpecification {
    let image = try #require(BuiltinGuest.named("hello"))
    return PoolSpecification(
      vm: VMSpecification(image: .builtin(image), vcpus: 1, memoryMiB: 2), ready: ready...ready, maxVMs: maxVMs)
  }

  /// Lasts and waits for an hour: longer than the tests take on a busy machine.
  private func request(waitNS: UInt64 = 3600 * second) -> LeaseRequest {
    LeaseRequest(ttlNS: 3600 * Self.second, waitNS: waitNS, origin: .server)
  }

  /// A lease, at once or when its turn comes.
  private func lease(_ pool: String, on other: Fleet? = nil, _ request: LeaseRequest) async throws -> Lease {
    let fleet = other ?? fleet
    return try await withCheckedThrowingContinuation { continuation in
      do throws(LeaseRefusal) {
        let answer = try fleet.lease(from: pool, request) { continuation.resume(with: $0.mapError { $0 as any Error }) }
        if case .granted(let lease) = answer { continuation.resume(returning: lease) }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  private func delete(_ fleet: Fleet, _ id: String) async throws -> FleetError? {
    try await withCheckedThrowingContinuation { continuation in
      do throws(FleetError) {
        try fleet.delete(id, fence: nil) { continuation.resume(returning: $0) }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  private func deletePool(_ fleet: Fleet, _ name: String, untilNS: UInt64?) async throws -> PoolDeletion {
    try await withCheckedThrowingContinuation { continuation in
      do throws(FleetError) {
        try fleet.deletePool(name, force: true, untilNS: untilNS) { continuation.resume(returning: $0) }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  // MARK: What could not be recorded did not happen

  @Test func leasesThatCannotBeRecordedLeaveNoTrace() async throws {
    try fleet.declare("p", specification(2))
    let first = try await lease("p", request())
    #expect(fleet.end(first.id, as: .released, by: .server))
    await events.wait { $0.count { $0 == "vm ready" } >= 3 }
    let made = factory.made.count
    let counts = try #require(fleet.metrics.last).measurements.leases
    let before = counts.snapshot.map(\.count)
    journal.fails.store(true, ordering: .relaxed)
    for _ in 0..<10 {
      await #expect(throws: LeaseRefusal.self) { try await lease("p", request(waitNS: 0)) }
    }
    #expect(events.names.count { $0 == "lease granted" } == 1)
    #expect(!events.names.contains("lease ended not_recorded") && fleet.leases().isEmpty)
    // No VM was lost, and the same ones are still ready.
    #expect(factory.made.count == made && fleet.vms(after: nil, limit: 10).vms.count == 2)
    #expect(try fleet.pool("p").ready == 2 && fleet.pool("p").leased == 0)
    let after = counts.snapshot
    for (old, new) in zip(before, after) {
      #expect(new.count == old + (new.result == .refused ? 10 : 0), "\(new.result)")
    }
    journal.fails.store(false, ordering: .relaxed)
    let next = try await lease("p", request(waitNS: 0))
    #expect(fleet.vms(after: nil, limit: 10).vms.map(\.id).contains(next.vm.id))
    #expect(fleet.lease(next.id)?.fence == next.fence && next.vm.lease?.fence == next.fence)
  }

  @Test func anExtensionThatCannotBeRecordedIsNotInForce() async throws {
    try fleet.declare("p", specification(1))
    let lease = try await lease("p", request())
    journal.fails.store(true, ordering: .relaxed)
    #expect(throws: JournalFailure.self) { try fleet.extend(lease.id, ttlNS: 7200 * Self.second, by: .server) }
    #expect(fleet.lease(lease.id)?.expiresAt == lease.expiresAt)
    #expect(!events.names.contains("lease extended"))
    journal.fails.store(false, ordering: .relaxed)
    let extended = try #require(try fleet.extend(lease.id, ttlNS: 7200 * Self.second, by: .server))
    #expect(extended.expiresAt.timeIntervalSince(lease.expiresAt) > 3500)
    // What does not change anything is neither recorded nor published.
    let records = journal.records.withLock { $0.count }
    #expect(try fleet.extend(lease.id, ttlNS: Self.second, by: .server)?.expiresAt == extended.expiresAt)
    #expect(journal.records.withLock { $0.count } == records)
    #expect(events.names.count { $0 == "lease extended" } == 1)
    let shortened = try #require(try fleet.extend(lease.id, ttlNS: 60 * Self.second, shortens: true, by: .server))
    #expect(shortened.expiresAt < lease.expiresAt)
  }

  /// A run starts its guest before the lease is recorded, but not where there may be no room for the record.
  @Test func aRunLosesNoVMWhereItMayNotBeRecorded() async throws {
    try fleet.declare("p", specification(1))
    await events.wait { $0.contains("vm ready") }
    journal.fails.store(true, ordering: .relaxed)
    journal.hasRoom.store(false, ordering: .relaxed)
    var run = request(waitNS: 0)
    let begun = Mutex(false)
    run.begin = { _ in begun.withLock { $0 = true } }
    await #expect(throws: LeaseRefusal.self) { try await lease("p", run) }
    #expect(!begun.withLock { $0 } && factory.made.count == 1)
    #expect(try fleet.pool("p").ready == 1)
  }

  // MARK: VMs that hang

  @Test func aVMThatHangsIsCountedOutsideOfPoolsToo() async throws {
    let fleet = Self.fleet(factory, journal, events, retirementNS: 1_000_000)
    factory.hangs.store(true, ordering: .relaxed)
    let vm = try fleet.create(specification(1).vm, start: true, untilNS: 0)
    guard case .stuck = try await delete(fleet, vm.id) else {
      Issue.record("it was not stuck")
      return
    }
    #expect(events.names.contains("quarantined nil"))
    #expect(fleet.metrics[0].pool == nil && fleet.metrics[0].vms["quarantined"] == 1)
    #expect(fleet.metrics[0].vms["running", default: 0] == 0)
    // So is one whose pool has gone.
    try fleet.declare("p", specification(1))
    let lease = try await lease("p", on: fleet, request())
    guard case .stuck = try await delete(fleet, lease.vm.id) else {
      Issue.record("it was not stuck")
      return
    }
    #expect(fleet.metrics[1].vms["quarantined"] == 1)
    // The deletion of its pool answers, and goes on.
    guard case .goesOn(let status) = try await deletePool(fleet, "p", untilNS: nil) else {
      Issue.record("it was complete")
      return
    }
    #expect(status.quarantined > 0)
    #expect(throws: FleetError.self) { try fleet.pool("p") }
    let quarantined = factory.made.count
    await events.wait { $0.count { $0.hasPrefix("quarantined") } == quarantined }
    #expect(fleet.metrics.count == 1 && fleet.metrics[0].vms["quarantined"] == quarantined)
    let made = factory.made
    for machine in made { machine.letGo() }
    await events.wait { $0.count { $0 == "destroyed" } == made.count }
    // A VM leaves the tables just after it is destroyed.
    try waitUntil("none is quarantined any more") { fleet.metrics[0].vms["quarantined"] == 0 }
  }

  @Test func aDeletionOutlastsTheDeadline() async throws {
    factory.hangs.store(true, ordering: .relaxed)
    try fleet.declare("p", specification(1))
    await events.wait { $0.contains("vm ready") }
    guard case .goesOn(let status) = try await deletePool(fleet, "p", untilNS: MonotonicClock.now() + 1_000_000) else {
      Issue.record("it was complete")
      return
    }
    #expect(status.retiring == 1)
    try fleet.declare("q", specification(0))
    factory.made[0].letGo()
    await events.wait { $0.contains("destroyed") }
  }

  /// Hundreds of VMs that hang take no thread, and keep nothing else from being done.
  @Test func vmsThatHangDelayNeitherRefillNorOtherRetirements() async throws {
    factory.hangs.store(true, ordering: .relaxed)
    var stuck: [String] = []
    for _ in 0..<200 { stuck.append(try fleet.create(specification(1).vm, start: true, untilNS: 0).id) }
    for id in stuck { try fleet.delete(id, fence: nil) { _ in } }
    factory.hangs.store(false, ordering: .relaxed)
    try fleet.declare("p", specification(3))
    for _ in 0..<20 {
      let lease = try await lease("p", request())
      #expect(fleet.end(lease.id, as: .released, by: .server))
    }
    await events.wait { $0.count { $0 == "destroyed" } >= 20 }
    for machine in factory.made.prefix(200) {
      #expect(!machine.isDestroyed)
      machine.letGo()
    }
    await events.wait { $0.count { $0 == "destroyed" } >= 220 }
    #expect(factory.made.prefix(200).allSatisfy { $0.isDestroyed })
  }

  /// VMs that are made faster than they are taken apart do not pile up.
  @Test func refillWaitsForVMsThatAreTakenApart() async throws {
    let gate = CountingSemaphore()
    let events = events
    let factory = FakeFactory {
      gate.wait()
      events.append("destroyed")
    }
    let fleet = Self.fleet(factory, journal, events)
    try fleet.declare("p", specification(1))
    var granted = 0
    // Until none is ready, and none is being made either.
    while granted < 1000, case let pool = try fleet.pool("p"), pool.ready + pool.creating > 0 {
      guard pool.ready > 0 else {
        await Task.yield()
        continue
      }
      let lease = try await lease("p", on: fleet, request(waitNS: 0))
      #expect(fleet.end(lease.id, as: .released, by: .server))
      granted += 1
    }
    #expect(granted > 200 && granted < 300)
    for _ in 0..<1000 { gate.signal() }
    _ = try await lease("p", on: fleet, request())
    await events.wait { [granted] in $0.count { $0 == "destroyed" } == granted }
  }

  // MARK: Lists

  @Test func listsComeInPages() async throws {
    try fleet.declare("a", specification(3))
    try fleet.declare("b", specification(0))
    try fleet.declare("c", specification(2))
    let vm = try fleet.create(specification(1).vm, start: false, untilNS: 0)
    await events.wait { $0.count { $0 == "vm ready" } == 6 }
    let all = fleet.vms(after: nil, limit: .max).vms.map(\.id)
    var paged: [String] = []
    var next: UInt64?
    repeat {
      let page = fleet.vms(after: next, limit: 2)
      paged += page.vms.map(\.id)
      next = page.next
    } while next != nil
    #expect(paged == all && all.count == 6)
    #expect(fleet.vms(of: "a", after: nil, limit: 9).vms.count == 3)
    #expect(fleet.vms(of: "nowhere", after: nil, limit: 9).vms.isEmpty)
    let (filtered, more) = fleet.vms(after: nil, limit: 1) { $0.pool == nil }
    #expect(filtered.map(\.id) == [vm.id] && more == nil)
    let first = fleet.pools(after: nil, limit: 2)
    #expect(first.pools.map(\.name) == ["a", "b"] && first.next == "b")
    #expect(fleet.pools(after: "b", limit: 2).pools.map(\.name) == ["c"])
    #expect(fleet.pools(after: "b", limit: 2).next == nil)
    #expect(try fleet.pool("a").states["ready"] == 3)
    let leases = try await [lease("a", request()), lease("c", request()), lease("a", request())]
    #expect(fleet.leases(of: nil, after: nil, limit: 2).leases.map(\.id) == leases.prefix(2).map(\.id))
    #expect(fleet.leases(of: nil, after: leases[1].fence, limit: 2).leases.map(\.id) == [leases[2].id])
    #expect(fleet.leases(of: "a", after: nil, limit: 1).next == leases[0].fence)
    #expect(fleet.leases(of: "a").map(\.id) == [leases[0].id, leases[2].id])
  }

  /// Counts that are kept where states change are those that the machines show.
  @Test func statesAreCountedWhereTheyChange() async throws {
    try fleet.declare("p", specification(4))
    await events.wait { $0.count { $0 == "vm ready" } == 4 }
    let vms = fleet.vms(of: "p", after: nil, limit: 9).vms
    try vms[0].machine.start(untilNS: 0)
    try vms[1].machine.start(untilNS: 0)
    _ = try vms[1].machine.requestPause()
    _ = try vms[2].machine.requestStop()
    await events.wait { $0.count { $0 == "vm ready" } == 7 }
    let states = try fleet.pool("p").states
    #expect(states["running"] == 1 && states["paused"] == 1 && states["stopped"] == 1 && states["ready"] == 4)
    for vm in vms.prefix(3) { #expect(try await delete(fleet, vm.id) == nil) }
    #expect(try fleet.pool("p").states.filter { $0.value != 0 } == ["ready": 4])
  }

}

/// The events of a fleet and its machines, as words, and those who wait for them.
final class EventRecorder: Sendable {
  private struct State {
    var names: [String] = []
    var waiting: [(condition: @Sendable ([String]) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let state = Mutex(State())

  var names: [String] { state.withLock { $0.names } }

  func append(_ event: FleetEvent) {
    switch event {
    case .vm(_, let state): append("vm " + (state?.name ?? "deleted"))
    case .lease(_, let isNew): append(isNew ? "lease granted" : "lease extended")
    case .ended(_, let end): append("lease ended " + end.rawValue)
    case .pool(let name, _): append("pool " + name)
    case .note(let pool, .quarantined): append("quarantined \(pool ?? "nil")")
    case .note(let pool, .resetFailed(_, let detail)): append("resetFailed \(pool ?? "nil") \(detail)")
    case .note(let pool, .resetDiffers(_, let detail)): append("resetDiffers \(pool ?? "nil") \(detail)")
    case .note: append("note")
    case .journal: append("journal")
    }
  }

  func append(_ name: String) {
    let due = state.withLock { state in
      state.names.append(name)
      let due = state.waiting.filter { $0.condition(state.names) }
      if !due.isEmpty { state.waiting.removeAll { $0.condition(state.names) } }
      return due
    }
    for waiter in due { waiter.continuation.resume() }
  }

  /// Returns when all the events so far fulfil a condition. It must not look at the fleet, whose lock may be held.
  func wait(_ condition: @escaping @Sendable ([String]) -> Bool) async {
    await withCheckedContinuation { continuation in
      let isDue = state.withLock { state in
        if condition(state.names) { return true }
        state.waiting.append((condition, continuation))
        return false
      }
      if isDue { continuation.resume() }
    }
  }
}

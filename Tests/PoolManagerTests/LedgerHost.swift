import Access
import GuestImages
import MachineRuntime

@testable import PoolManager

/// A ledger with a host that does at once, or when told, what it wants done.
final class LedgerHost {
  var ledger: Ledger
  var now: UInt64 = 1_000_000_000
  private(set) var creations: [Ledger.Creation] = []
  private(set) var retiring: [String] = []
  private(set) var resetting: [String] = []
  private(set) var actions: [Ledger.Action] = []
  private var made = 0
  private var waiters: UInt64 = 0

  init(_ limits: FleetLimits = FleetLimits(creations: 1)) { ledger = Ledger(limits: limits) }

  /// An image for VMs of which only the number counts.
  static let image = GuestImage.flat(FlatImage(mode: .real16, loadAddress: 0, entry: 0, code: []))

  static func specification(
    _ ready: ClosedRange<Int>, image: String = "spin", maxVMs: Int? = nil, memoryMiB: Int = 2,
    readyPoint: ReadyPoint = .loaded, resets: Bool = false
  ) -> PoolSpecification {
    // The names are those of guests that are built in.
    let guest = BuiltinGuest.named(image).map { GuestImage.builtin($0) }
    return PoolSpecification(
      vm: VMSpecification(
        image: guest ?? Self.image, vcpus: 1,
        memoryMiB: memoryMiB), ready: ready, maxVMs: maxVMs, readyPoint: readyPoint, resetsVMs: resets)
  }

  func declare(_ name: String, _ specification: PoolSpecification) throws {
    _ = try ledger.declare(name, specification, now: now)
    act()
  }

  /// Asks the ledger what to do.
  func act() {
    while true {
      let new = ledger.takeActions()
      for case .grant(_, let grant) in new { ledger.confirm(grant.id, now: now) }
      actions += new
      for case .reset(let vm) in new { resetting.append(vm) }
      for case .retire(let vm) in actions where !retiring.contains(vm) && ledger.vms[vm]?.phase == .retiring {
        retiring.append(vm)
      }
      guard let creation = ledger.nextCreation(now: now) else { return }
      creations.append(creation)
    }
  }

  /// What was done since this was asked last.
  func news() -> [Ledger.Action] {
    defer { actions = [] }
    return actions
  }

  /// The oldest template being made is there; whether it is of use.
  @discardableResult
  func boot() -> Bool? {
    guard let place = creations.firstIndex(where: { $0.boot != nil }) else { return nil }
    defer { act() }
    return ledger.booted(creations.remove(at: place), now: now)
  }

  /// The oldest VM being made is there; its pool.
  @discardableResult
  func create() -> String? {
    guard let place = creations.firstIndex(where: { $0.boot == nil }) else { return nil }
    let creation = creations.remove(at: place)
    made += 1
    ledger.created(creation, "vm-\(made)", now: now)
    act()
    return creation.name
  }

  func fail(_ detail: String = "no memory", jitter: Double = 0) {
    guard !creations.isEmpty else { return }
    ledger.failed(creations.removeFirst(), detail, now: now, jitter: jitter)
    act()
  }

  @discardableResult
  func retire() -> Bool {
    guard !retiring.isEmpty else { return false }
    ledger.retired(retiring.removeFirst(), now: now)
    act()
    return true
  }

  /// The reset of the oldest VM that is being reset has ended: its new name, where it is of use. Else it is taken apart.
  func reset(works: Bool = true) -> String? {
    guard !resetting.isEmpty else { return nil }
    let vm = resetting.removeFirst()
    made += 1
    defer { act() }
    if works, ledger.reset(vm, as: "vm-\(made)", now: now) { return "vm-\(made)" }
    ledger.resetFailed(vm, now: now)
    retiring.append(vm)
    return nil
  }

  /// Makes and takes apart VMs and templates until nothing is left to do.
  func finishAllWork() { while boot() != nil || create() != nil || retire() {} }

  /// Asks for a lease, which is on record at once unless it is not `confirmed`.
  func lease(
    _ pool: String, for tenant: Tenant = .standard, ttl: UInt64 = 60_000_000_000, wait: UInt64 = 0,
    confirmed: Bool = true
  ) throws(LeaseRefusal) -> Ledger.LeaseGrant? {
    waiters += 1
    let waiter = Waiter(id: waiters, tenant: tenant, leaseID: "lease-\(waiters)", ttlNS: ttl, untilNS: now + wait)
    let holding = try ledger.lease(from: pool, waiter, now: now)
    if let holding, confirmed { ledger.confirm(holding.id, now: now) }
    act()
    return holding
  }

  /// The number of the client that asked last.
  var lastWaiter: UInt64 { waiters }

  func undo(_ lease: String) -> Bool {
    defer { act() }
    return ledger.undoGrant(lease, now: now)
  }

  func end(_ lease: String) {
    _ = ledger.end(lease, now: now)
    act()
  }

  func pass(_ ns: UInt64) {
    now += ns
    ledger.tick(now: now)
    act()
  }

  func take(_ vm: String) -> Bool { ledger.take(vm, now: now) }

  func delete(_ vm: String) -> Bool { ledger.delete(vm, now: now) }

  func leave(_ waiter: UInt64, pool: String) -> Bool { ledger.leave(waiter, pool: pool, now: now) }

  func extend(_ lease: String, ttlNS: UInt64) -> Ledger.LeaseGrant? { ledger.extend(lease, ttlNS: ttlNS, now: now) }

  func reserve(_ footprint: Footprint, for tenant: Tenant = .standard) -> RoomRefusal? {
    ledger.reserve(footprint, for: tenant)
  }

  func pool(_ name: String) throws -> PoolState {
    guard let book = ledger.pool(name) else { throw FleetError.noSuchPool(name) }
    return book
  }
}

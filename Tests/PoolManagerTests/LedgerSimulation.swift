import Access
import GuestImages
import MachineRuntime
import TestSupport
import Testing

@testable import PoolManager

/// A host, its clients and its clock, simulated: random things happen to a ledger, and an account kept apart from it
/// says whether what it does is right.
struct LedgerSimulation {
  var random: SeededGenerator
  var ledger: Ledger
  var now: UInt64 = 1_000_000_000
  private var specifications: [String: PoolSpecification] = [:]
  var creations: [Ledger.Creation] = []
  var retiring: [String] = []
  var resetting: [String] = []
  /// Templates that are there, by the revision of the declaration.
  var templates: Set<UInt64> = []
  private var byHand: [String: Footprint] = [:]

  // The account.
  var alive: Set<String> = []
  private var everLeased: Set<String> = []
  var holders: [String: String] = [:]
  var unconfirmed: Set<String> = []
  private var lastFence: UInt64 = 0
  var queues = FairnessAccount(weights: Self.weights)
  var nextNumber: UInt64 = 1
  private(set) var violations: [String] = []
  private(set) var grants = 0
  private(set) var refusals = 0
  private(set) var ends = 0
  private(set) var resets = 0

  private static let names = ["a", "b", "c", "acme/d"]
  private static let weights = [Tenant.standard: 1, Tenant("acme")!: 2, Tenant("beta")!: 1, Tenant("gamma")!: 5]
  private static let tenants = weights.keys.sorted { $0.name < $1.name }
  private static let images: [GuestImage] = ["spin", "hello"].compactMap { BuiltinGuest.named($0).map { .builtin($0) } }

  init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
    let limits = FleetLimits(
      vms: 40, pools: 4, memoryMiB: 120, creations: Int.random(in: 1...4, using: &random), waiters: 12,
      leaseNS: 60_000_000_000)
    ledger = Ledger(limits: limits)
    declareTenants()
  }

  // MARK: What happens

  mutating func makeRandomEvent() {
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<4: declare()
    case 4: deletePool()
    case 5: declareTenants()
    case 6..<30: lease()
    case 30..<42: end()
    case 42..<46: extend()
    case 46..<48: leave()
    case 48..<50: confirmOrUndoGrant()
    case 50..<70: finishCreation()
    case 70..<78: finishRetirement()
    case 78..<84: finishReset()
    case 84..<87: takeOrDelete()
    case 87..<90: makeByHand()
    default: wait()
    }
    act()
    check()
  }

  private mutating func declare() {
    let low = Int.random(in: 0...4, using: &random)
    let high = low + Int.random(in: 0...4, using: &random)
    let vm = VMSpecification(
      image: Self.images.randomElement(using: &random)!, vcpus: Int.random(in: 1...2, using: &random),
      memoryMiB: Int.random(in: 1...6, using: &random))
    var specification = PoolSpecification(vm: vm, ready: low...high)
    if Bool.random(using: &random) { specification.maxVMs = max(1, high + Int.random(in: 0...3, using: &random)) }
    if Bool.random(using: &random) { specification.refillConcurrency = Int.random(in: 1...2, using: &random) }
    if Bool.random(using: &random) { specification.readyPoint = .started }
    specification.resetsVMs = Bool.random(using: &random)
    specification.isPaused = Int.random(in: 0..<10, using: &random) == 0
    let name = Self.names.randomElement(using: &random)!
    do throws(FleetError) {
      _ = try ledger.declare(name, specification, now: now)
      specifications[name] = specification
    } catch {}
  }

  /// The weights stay, because the account has them; the quotas change.
  private mutating func declareTenants() {
    var declarations = Self.weights.mapValues { TenantDeclaration(weight: $0) }
    let tenant = Self.tenants.randomElement(using: &random)!
    let most = Int.random(in: 0...12, using: &random)
    declarations[tenant]?.quotas = [
      TenantQuotas(vms: most), TenantQuotas(leases: most / 3), TenantQuotas(waiting: most / 3),
      TenantQuotas(vcpus: most),
      TenantQuotas(memoryMiB: 4 * most),
    ].randomElement(using: &random)!
    ledger.declareTenants(declarations, now: now)
  }

  private mutating func deletePool() {
    let name = Self.names.randomElement(using: &random)!
    _ = try? ledger.delete(pool: name, force: Bool.random(using: &random), now: now)
  }

  private mutating func lease() {
    let name = Self.names.randomElement(using: &random)!
    let id = nextNumber
    nextNumber += 1
    let patience = UInt64.random(in: 0...2, using: &random) * 500_000_000
    // One of them floods.
    let tenant = Bool.random(using: &random) ? Tenant.standard : Self.tenants.randomElement(using: &random)!
    let waiter = Waiter(
      id: id, tenant: tenant, leaseID: "lease-\(id)", ttlNS: UInt64.random(in: 1...5_000_000_000, using: &random),
      untilNS: now + patience)
    let mustWait = queues.isWaiting(name)
    do throws(LeaseRefusal) {
      if let holding = try ledger.lease(from: name, waiter, now: now) {
        if mustWait { fail("\(id) was served before those who wait for \(name)") }
        granted(holding)
      } else {
        queues.came(id, tenant, to: name)
        if patience == 0 { fail("\(id) waits, which it did not want") }
      }
    } catch {
      refusals += 1
    }
  }

  private mutating func end() {
    guard let lease = holders.keys.sorted().randomElement(using: &random) else { return }
    guard let holding = ledger.end(lease, now: now) else { return fail("\(lease) is held and cannot be ended") }
    ended(holding)
  }

  /// A grant is on record, or could not be recorded: its VM may be granted once more.
  private mutating func confirmOrUndoGrant() {
    guard let lease = unconfirmed.sorted().randomElement(using: &random), let vm = holders[lease] else { return }
    unconfirmed.remove(lease)
    guard Bool.random(using: &random) else { return ledger.confirm(lease, now: now) }
    guard ledger.undoGrant(lease, now: now) else { return fail("\(lease) is held and cannot be taken back") }
    holders[lease] = nil
    everLeased.remove(vm)
  }

  private mutating func extend() {
    guard let lease = holders.keys.sorted().randomElement(using: &random) else { return }
    let ttl = UInt64.random(in: 1...5_000_000_000, using: &random)
    // Its time may be up already, and the clock not have rung yet.
    let before = ledger.leases[lease]?.expiresNS ?? 0
    let shortens = Bool.random(using: &random)
    guard let holding = ledger.extend(lease, ttlNS: ttl, shortens: shortens, now: now) else { return }
    let expected = min(shortens ? now + ttl : max(before, now + ttl), holding.lastNS)
    if holding.expiresNS != expected { fail("\(lease) was not extended as asked") }
  }

  private mutating func leave() {
    guard let id = queues.pools.keys.sorted().randomElement(using: &random), let pool = queues.pools[id] else { return }
    guard ledger.leave(id, pool: pool, now: now) else { return fail("\(id) waits and cannot leave") }
    answered(id)
  }

  private mutating func finishCreation() {
    guard let place = creations.indices.randomElement(using: &random) else { return }
    let creation = creations.remove(at: place)
    if Int.random(in: 0..<8, using: &random) == 0 {
      ledger.failed(creation, "it is simulated", now: now, jitter: Double.random(in: 0...1, using: &random))
    } else {
      let vm = "vm-\(nextNumber)"
      nextNumber += 1
      alive.insert(vm)
      finish(creation, vm)
    }
  }

  mutating func finish(_ creation: Ledger.Creation, _ vm: String) {
    if creation.boot != nil {
      alive.remove(vm)
      if ledger.booted(creation, now: now) { templates.insert(creation.revision) }
    } else {
      ledger.created(creation, vm, now: now)
    }
  }

  private mutating func finishRetirement() {
    guard let place = retiring.indices.randomElement(using: &random) else { return }
    if Int.random(in: 0..<10, using: &random) == 0 {
      ledger.quarantined(retiring[place], now: now)
      return
    }
    let vm = retiring.remove(at: place)
    alive.remove(vm)
    byHand[vm] = nil
    ledger.retired(vm, now: now)
  }

  private mutating func finishReset() {
    guard let place = resetting.indices.randomElement(using: &random) else { return }
    finishReset(at: place, Int.random(in: 0..<8, using: &random))
  }

  /// A reset of every eight fails, and in another one the VM does not stand still for it.
  mutating func finishReset(at place: Int, _ number: Int) {
    let vm = resetting[place]
    if number == 0 {
      if !ledger.quarantined(vm, now: now) { fail("\(vm) is not quarantined in its reset") }
    }
    resetting.remove(at: place)
    let new = "vm-\(nextNumber)"
    nextNumber += 1
    if number != 1, ledger.reset(vm, as: new, now: now) {
      if number == 0 { fail("\(vm) is quarantined, and came back") }
      resets += 1
      alive.remove(vm)
      alive.insert(new)
    } else {
      ledger.resetFailed(vm, now: now)
      retiring.append(vm)
    }
  }

  private mutating func takeOrDelete() {
    guard let vm = alive.sorted().randomElement(using: &random) else { return }
    let isBetweenOwners = retiring.contains(vm) || resetting.contains(vm)
    if Bool.random(using: &random) {
      if ledger.take(vm, now: now) == isBetweenOwners { fail("\(vm) was taken between its owners") }
    } else if ledger.delete(vm, now: now) {
      if isBetweenOwners { fail("\(vm) was deleted between its owners") }
      retiring.append(vm)
    } else if !isBetweenOwners {
      fail("\(vm) cannot be deleted")
    }
  }

  private mutating func makeByHand() {
    let footprint = Footprint(image: LedgerHost.image, vcpus: 1, memoryMiB: Int.random(in: 1...4, using: &random))
    let tenant = Self.tenants.randomElement(using: &random)!
    guard ledger.reserve(footprint, for: tenant) == nil else { return }
    if Bool.random(using: &random) { return ledger.unreserve(footprint, of: tenant, now: now) }
    let vm = "vm-\(nextNumber)"
    nextNumber += 1
    alive.insert(vm)
    byHand[vm] = footprint
    ledger.madeByHand(vm, footprint, for: tenant)
  }

  private mutating func wait() {
    now += UInt64.random(in: 0...400_000_000, using: &random)
    if let next = ledger.nextTick, next <= now { ledger.tick(now: now) }
  }

  // MARK: What it does

  mutating func act() {
    while true {
      for action in ledger.takeActions() { perform(action) }
      guard let creation = ledger.nextCreation(now: now) else { break }
      creations.append(creation)
      checkSource(of: creation)
      if creation.boot == nil, let most = specifications[creation.name]?.maxVMs, let book = ledger.pools[creation.pool],
        book.total > most
      {
        fail("\(creation.name) grew to \(book.total) VMs, beyond its \(most)")
      }
    }
    for action in ledger.takeActions() { perform(action) }
  }

  /// No VM is made before what it is cloned from, and no template twice.
  private mutating func checkSource(of creation: Ledger.Creation) {
    let needsTemplate = ledger.pools[creation.pool]?.specification.needsTemplate == true
    let hasTemplate = templates.contains(creation.revision)
    if creation.boot == nil, needsTemplate != hasTemplate { fail("\(creation.name) has a VM made of the wrong thing") }
    let same = creations.count { $0.boot != nil && $0.revision == creation.revision }
    if creation.boot != nil, hasTemplate || same != 1 { fail("\(creation.name) has more than one template") }
  }

  private mutating func perform(_ action: Ledger.Action) {
    switch action {
    case .grant(let id, let holding):
      if let violation = queues.served(id, holding.tenant) { fail(violation) }
      granted(holding)
    case .refuse(let id, _):
      answered(id)
      refusals += 1
    case .retire(let vm):
      if !alive.contains(vm) || retiring.contains(vm) { fail("\(vm) is taken apart twice") }
      retiring.append(vm)
    case .reset(let vm):
      if !alive.contains(vm) || retiring.contains(vm) || resetting.contains(vm) {
        fail("\(vm) is reset at a wrong time")
      }
      if let record = ledger.vms[vm], !templates.contains(record.revision) {
        fail("\(vm) has no template to go back to")
      }
      resetting.append(vm)
    case .dropTemplate(let revision):
      let isBooting = creations.contains { $0.boot != nil && $0.revision == revision }
      if templates.remove(revision) == nil, !isBooting { fail("a template is dropped that is not there") }
    case .ended(let holding, _): ended(holding)
    case .onlyQuarantinedLeft(let key):
      if let pool = ledger.pools[key], !pool.isDraining { fail("\(pool.name) is not being deleted") }
    case .gone(let key):
      if ledger.vms.values.contains(where: { $0.pool == key }) { fail("a pool is gone, and VMs of it are not") }
    case .note: break
    }
  }

  private mutating func granted(_ holding: Ledger.LeaseGrant) {
    grants += 1
    if !alive.contains(holding.vm) || retiring.contains(holding.vm) || resetting.contains(holding.vm) {
      fail("\(holding.vm) is granted and is no more")
    }
    if !everLeased.insert(holding.vm).inserted { fail("\(holding.vm) was granted twice") }
    if holders.values.contains(holding.vm) { fail("\(holding.vm) has two holders") }
    if holding.fence <= lastFence { fail("the fence went from \(lastFence) to \(holding.fence)") }
    lastFence = holding.fence
    holders[holding.id] = holding.vm
    if Bool.random(using: &random) { unconfirmed.insert(holding.id) } else { ledger.confirm(holding.id, now: now) }
  }

  private mutating func ended(_ holding: Ledger.LeaseGrant) {
    ends += 1
    unconfirmed.remove(holding.id)
    if holders.removeValue(forKey: holding.id) != holding.vm { fail("\(holding.id) ended twice") }
  }

  private mutating func answered(_ id: UInt64) {
    if !queues.left(id) { fail("\(id) was answered twice") }
  }

  // MARK: What must hold

  mutating func check() {
    if Set(ledger.vms.keys) != alive { fail("the ledger and the host disagree about the VMs there are") }
    if Set(ledger.leases.keys) != Set(holders.keys) { fail("the ledger and the holders disagree about the leases") }
    let budget = ledger.budget
    if budget.vms != alive.count + creations.count + templates.count { fail("\(budget.vms) VMs are accounted for") }
    if budget.vms > ledger.limits.vms || budget.memoryKiB > ledger.limits.memoryMiB << 10 {
      fail("the host is overdrawn")
    }
    if ledger.creationsInFlight != creations.count(where: { $0.boot == nil }) {
      fail("creations in flight are miscounted")
    }
    for book in ledger.pools.values {
      let count = ledger.vms.values.reduce(0) { $0 + ($1.pool == book.key ? 1 : 0) }
      let open = unconfirmed.count { ledger.leases[$0]?.pool == book.key }
      if book.unconfirmed != open { fail("\(book.name) counts \(book.unconfirmed) leases not on record, of \(open)") }
      let making = creations.count { $0.pool == book.key && $0.boot == nil }
      if book.booting != creations.count(where: { $0.pool == book.key && $0.boot != nil }) {
        fail("\(book.name) miscounts its templates")
      }
      let coming = resetting.count { ledger.vms[$0].map { $0.pool == book.key && $0.phase == .resetting } ?? false }
      if book.resetting != coming { fail("\(book.name) counts \(book.resetting) resets of \(coming)") }
      if book.total != count + making { fail("\(book.name) counts \(book.total) VMs of \(count + making)") }
      if !book.queue.isEmpty, book.ready.count + book.outdated.count > 0 {
        fail("\(book.name) has both VMs and waiters")
      }
      if book.queue.count != queues.count(book.name), ledger.keys[book.name] == book.key {
        fail("\(book.name)'s queue is miscounted")
      }
    }
    if ledger.timers.count > 2 * (ledger.leases.count + queues.pools.count) + 200 {
      fail("\(ledger.timers.count) timers are kept")
    }
    for (id, holding) in ledger.leases where holding.expiresNS > holding.lastNS { fail("\(id) lasts too long") }
    checkTenants()
  }

  mutating func fail(_ text: String) { violations.append(text) }
}

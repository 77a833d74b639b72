import DequeModule
import HeapModule
import MachineRuntime

/// What all pools own, owe and do next, as one pure state machine: no VMs, no clock, no threads, no storage.
///
/// Each event is a method; what has to be done because of it is collected in `takeActions`, and VMs to be made are
/// asked for, one at a time, with `nextCreation`. Times are nanoseconds of a clock that never goes back.
struct Ledger: Sendable {
  typealias PoolKey = Int

  /// What one VM is to the ledger.
  struct Slot: Sendable, Equatable {
    let pool: PoolKey?
    let footprint: Footprint
    var phase: Phase
  }

  enum Phase: Sendable, Equatable {
    /// Made by hand, or a pool's that somebody controls without a lease.
    case taken
    /// A pool's, to be leased.
    case ready
    /// As `ready`, of a declaration that no longer holds: to be replaced when that leaves enough.
    case outdated
    /// Somebody has it until the lease ends.
    case leased(String)
    /// Between two owners: it is being taken apart, and nobody else may touch it.
    case retiring
    /// It could not be taken apart in time.
    case quarantined
  }

  /// One hand-over.
  struct Holding: Sendable, Equatable {
    let id: String
    let vm: String
    let pool: PoolKey
    let fence: UInt64
    let grantedNS: UInt64
    var expiresNS: UInt64
    let lastNS: UInt64
    fileprivate var timerNS: UInt64
  }

  /// A VM to be made.
  struct Creation: Sendable, Equatable {
    let pool: PoolKey
    let name: String
    let revision: UInt64
    let specification: VMSpecification
  }

  enum Action: Sendable, Equatable {
    /// A waiter's turn has come.
    case grant(waiter: UInt64, Holding)
    /// A waiter has waited in vain.
    case refuse(waiter: UInt64, LeaseRefusal)
    /// Take the VM apart and say when it is gone.
    case retire(vm: String)
    /// A lease has ended, other than by its holder's own word.
    case ended(Holding, LeaseEnd)
    /// Nothing of the pool is left.
    case gone(PoolKey)
    /// Something that those who watch the pool want to know.
    case note(pool: String, PoolNote)
  }

  private enum TimerKind: Sendable { case lease(String), waiter(PoolKey, UInt64), retry }

  private struct Timer: Sendable, Comparable {
    let at: UInt64
    let kind: TimerKind
    static func == (one: Timer, other: Timer) -> Bool { one.at == other.at }
    static func < (one: Timer, other: Timer) -> Bool { one.at < other.at }
  }

  let limits: FleetLimits
  private(set) var books: [PoolKey: PoolBook] = [:]
  private(set) var names: [String: PoolKey] = [:]
  private(set) var slots: [String: Slot] = [:]
  private(set) var leases: [String: Holding] = [:]
  private(set) var budget: HostBudget
  private(set) var isClosed = false
  private(set) var creationsInFlight = 0
  /// Pools that want VMs made.
  private var hungry: Set<PoolKey> = []
  private var timers = Heap<Timer>()
  private var actions: [Action] = []
  private var nextFence: UInt64
  private var nextKey = 1
  private var nextRevision: UInt64 = 1
  /// Creations begun so far: the clock by which a pool that waits for its turn grows old.
  private var creationsBegun: UInt64 = 0

  /// An empty ledger whose first hand-over has fence `firstFence`.
  init(limits: FleetLimits, firstFence: UInt64 = 1) {
    self.limits = limits
    budget = HostBudget(limits: limits)
    nextFence = firstFence
  }

  /// What has to be done since it was asked last, in order.
  mutating func takeActions() -> [Action] {
    defer { actions.removeAll(keepingCapacity: true) }
    return actions
  }

  /// When `tick` is due next; nil for never.
  var nextTick: UInt64? { timers.min?.at }

  /// The pool of that name.
  func book(_ name: String) -> PoolBook? { names[name].flatMap { books[$0] } }

  /// Looks at a pool, or changes it, where it is: whoever changes a copy copies the whole stock.
  private mutating func atBook<Value>(_ key: PoolKey, _ body: (inout PoolBook) -> Value) -> Value? {
    books.index(forKey: key).map { body(&books.values[$0]) }
  }

  // MARK: VMs by hand

  /// Takes a VM's place in the host, before it is made.
  mutating func reserve(_ footprint: Footprint) -> BudgetRefusal? {
    if let refusal = budget.refusal(of: footprint) { return refusal }
    budget.add(footprint)
    return nil
  }

  /// Gives the place back: the VM could not be made.
  mutating func unreserve(_ footprint: Footprint, now: UInt64) {
    budget.remove(footprint)
    feed(now)
  }

  /// The VM for which a place was reserved has been made.
  mutating func madeByHand(_ vm: String, _ footprint: Footprint) {
    slots[vm] = Slot(pool: nil, footprint: footprint, phase: .taken)
  }

  /// Somebody controls a pool's VM without a lease: it leaves the pool's stock. False where nobody may.
  mutating func take(_ vm: String, now: UInt64) -> Bool {
    guard let slot = slots[vm] else { return false }
    switch slot.phase {
    case .retiring, .quarantined: return false
    case .taken, .leased: return true
    case .ready, .outdated:
      guard let key = slot.pool else { return true }
      books[key]?.forget(vm)
      books[key]?.taken += 1
      slots[vm]?.phase = .taken
      settle(key, now)
      return true
    }
  }

  /// Somebody deletes a VM: from now on nobody finds it. False where there is none.
  mutating func delete(_ vm: String, now: UInt64) -> Bool {
    guard let slot = slots[vm], slot.phase != .retiring, slot.phase != .quarantined else { return false }
    if case .leased(let id) = slot.phase, let holding = leases[id] { actions.append(.ended(holding, .vmDeleted)) }
    beginRetiring(vm, slot)
    if let key = slot.pool { settle(key, now) }
    return true
  }

  /// Every trace of a VM is gone.
  mutating func retired(_ vm: String, now: UInt64) {
    guard let slot = slots.removeValue(forKey: vm) else { return }
    budget.remove(slot.footprint)
    if let key = slot.pool {
      if slot.phase == .quarantined { books[key]?.quarantined -= 1 } else { books[key]?.retiring -= 1 }
      settle(key, now)
    }
    feed(now)
  }

  /// A VM could not be taken apart in time. Whoever tries goes on trying.
  mutating func quarantined(_ vm: String) {
    guard let slot = slots[vm], slot.phase == .retiring else { return }
    slots[vm]?.phase = .quarantined
    guard let key = slot.pool, let name = books[key]?.name else { return }
    books[key]?.retiring -= 1
    books[key]?.quarantined += 1
    actions.append(.note(pool: name, .quarantined(vm: vm)))
  }

  private mutating func beginRetiring(_ vm: String, _ slot: Slot) {
    slots[vm]?.phase = .retiring
    if case .leased(let id) = slot.phase { leases[id] = nil }
    guard let key = slot.pool else { return }
    switch slot.phase {
    case .taken: books[key]?.taken -= 1
    case .ready, .outdated: books[key]?.forget(vm)
    case .leased: books[key]?.leased -= 1
    case .retiring, .quarantined: return
    }
    books[key]?.retiring += 1
  }

  // MARK: Pools

  /// Declares a pool, or declares it anew; true when it is new.
  mutating func declare(_ name: String, _ specification: PoolSpecification, now: UInt64) throws(FleetError) -> Bool {
    if isClosed { throw .draining }
    if let key = names[name], let book = books[key] {
      if book.isDraining { throw .poolDraining(name) }
      if book.specification.vm != specification.vm {
        books[key]?.replace(with: nextRevision)
        nextRevision += 1
        for vm in books[key]?.outdated ?? [] { slots[vm]?.phase = .outdated }
      }
      books[key]?.specification = specification
      // A new declaration is a new chance.
      books[key]?.backoff = RefillBackoff()
      settle(key, now)
      return false
    }
    guard names.count < limits.pools else { throw .limitReached(what: "pools", limit: limits.pools, option: nil) }
    let key = nextKey
    nextKey += 1
    books[key] = PoolBook(key: key, name: name, specification: specification, revision: nextRevision)
    nextRevision += 1
    names[name] = key
    settle(key, now)
    return true
  }

  /// Deletes a pool: at once, with its leases, or (not `force`) when the last of them has ended. Whether a lease is
  /// waited for, and the key to wait for with `gone`.
  mutating func delete(
    pool name: String, force: Bool, now: UInt64
  ) throws(FleetError) -> (key: PoolKey, waitsForLeases: Bool) {
    guard let key = names[name] else { throw .noSuchPool(name) }
    books[key]?.isDraining = true
    refuseAll(key, .poolDeleted)
    for (vm, slot) in slots where slot.pool == key {
      switch slot.phase {
      case .leased(let id):
        guard force, let holding = leases[id] else { continue }
        actions.append(.ended(holding, .poolDeleted))
        retire(vm, slot)
      case .taken, .ready, .outdated: retire(vm, slot)
      case .retiring, .quarantined: continue
      }
    }
    let waits = (books[key]?.leased ?? 0) > 0
    settle(key, now)
    return (key, waits)
  }

  private mutating func retire(_ vm: String, _ slot: Slot) {
    beginRetiring(vm, slot)
    actions.append(.retire(vm: vm))
  }

  /// Makes nothing new and hands out nothing from now on.
  mutating func close() {
    isClosed = true
    hungry = []
    for key in books.keys { refuseAll(key, .draining) }
  }

  private mutating func refuseAll(_ key: PoolKey, _ refusal: LeaseRefusal) {
    while let waiter = books[key]?.queue.popFirst() { actions.append(.refuse(waiter: waiter.id, refusal)) }
  }

  // MARK: Making VMs

  /// The next VM to make, if one is to be made now; it counts as being made until `created` or `failed`.
  mutating func nextCreation(now: UInt64) -> Creation? {
    guard !isClosed, creationsInFlight < limits.creations else { return nil }
    var best: (key: PoolKey, urgency: Double)?
    for key in hungry {
      guard let book = books[key], book.mayCreate(now: now) else { continue }
      if let refusal = budget.refusal(of: book.specification.vm.footprint) {
        limited(key, by: refusal)
        continue
      }
      let urgency = book.urgency(at: creationsBegun)
      // Of equals the older one, so that the order does not depend on the set's.
      if let best, (best.urgency, key) > (urgency, best.key) { continue }
      best = (key, urgency)
    }
    guard let key = best?.key, let book = books[key] else { return nil }
    creationsBegun += 1
    creationsInFlight += 1
    budget.add(book.specification.vm.footprint)
    books[key]?.creating += 1
    books[key]?.servedAt = creationsBegun
    settle(key, now)
    return Creation(pool: key, name: book.name, revision: book.revision, specification: book.specification.vm)
  }

  private mutating func limited(_ key: PoolKey, by refusal: BudgetRefusal) {
    guard let book = books[key], book.limitedBy != refusal else { return }
    books[key]?.limitedBy = refusal
    actions.append(.note(pool: book.name, .limited(refusal)))
  }

  /// A VM that was asked for has been made.
  mutating func created(_ creation: Creation, _ vm: String, now: UInt64) {
    let book = endCreation(creation)
    let footprint = creation.specification.footprint
    guard !isClosed, let book, !book.isDraining, book.revision == creation.revision else {
      slots[vm] = Slot(pool: book == nil ? nil : creation.pool, footprint: footprint, phase: .retiring)
      if book != nil { books[creation.pool]?.retiring += 1 }
      actions.append(.retire(vm: vm))
      if book != nil { settle(creation.pool, now) }
      return
    }
    slots[vm] = Slot(pool: creation.pool, footprint: footprint, phase: .ready)
    let hasFailed = atBook(creation.pool) { book in
      book.ready.append(vm)
      book.limitedBy = nil
      defer { book.backoff = RefillBackoff() }
      return book.backoff.failures > 0
    }
    if hasFailed == true { actions.append(.note(pool: creation.name, .recovered)) }
    settle(creation.pool, now)
  }

  /// A VM that was asked for could not be made; nothing of it is left. `jitter` is a random number of 0...1.
  mutating func failed(_ creation: Creation, _ detail: String, now: UInt64, jitter: Double) {
    let book = endCreation(creation)
    budget.remove(creation.specification.footprint)
    if let book, !isClosed, book.revision == creation.revision {
      if let next = books[creation.pool]?.backoff.failed(detail, now: now, jitter: jitter) {
        timers.insert(Timer(at: next, kind: .retry))
        actions.append(.note(pool: book.name, .failing(detail)))
      }
    }
    if book != nil { settle(creation.pool, now) }
    feed(now)
  }

  /// Takes it off the count of those being made; nil when its pool is gone.
  private mutating func endCreation(_ creation: Creation) -> PoolBook? {
    creationsInFlight -= 1
    guard let book = books[creation.pool] else { return nil }
    if book.revision == creation.revision {
      books[creation.pool]?.creating -= 1
    } else {
      books[creation.pool]?.creatingOutdated -= 1
    }
    return book
  }

  // MARK: Leases

  /// Somebody wants a VM. Nil: it waits in the queue, and an action will tell.
  mutating func lease(
    from name: String, _ waiter: Waiter, now: UInt64
  ) throws(LeaseRefusal) -> Holding? {
    if isClosed { throw .draining }
    guard let key = names[name], let (isDraining, waiting) = atBook(key, { ($0.isDraining, $0.queue.count) }) else {
      throw .noSuchPool
    }
    if isDraining { throw .poolDeleted }
    // Whoever waits has come first.
    if waiting == 0, let holding = grant(waiter, key, now) {
      settle(key, now)
      return holding
    }
    guard waiter.untilNS > now, waiting < limits.waiters else {
      noteExhaustion(key)
      throw .exhausted(waiting: waiting)
    }
    books[key]?.queue.append(waiter)
    timers.insert(Timer(at: waiter.untilNS, kind: .waiter(key, waiter.id)))
    noteExhaustion(key)
    settle(key, now)
    return nil
  }

  private mutating func noteExhaustion(_ key: PoolKey) {
    guard let book = books[key], !book.isExhausted else { return }
    books[key]?.isExhausted = true
    actions.append(.note(pool: book.name, .exhausted))
  }

  private mutating func grant(_ waiter: Waiter, _ key: PoolKey, _ now: UInt64) -> Holding? {
    guard let vm = atBook(key, { $0.lease() }) ?? nil else { return nil }
    let last = now + limits.leaseNS
    let expires = min(now + waiter.ttlNS, last)
    let holding = Holding(
      id: waiter.leaseID, vm: vm, pool: key, fence: nextFence, grantedNS: now, expiresNS: expires, lastNS: last,
      timerNS: expires)
    nextFence += 1
    slots[vm]?.phase = .leased(holding.id)
    leases[holding.id] = holding
    timers.insert(Timer(at: expires, kind: .lease(holding.id)))
    return holding
  }

  /// A waiter gives up; false where its turn has come already.
  mutating func leave(_ waiter: UInt64, pool name: String, now: UInt64) -> Bool {
    guard let key = names[name], books[key]?.queue.remove(waiter) == true else { return false }
    settle(key, now)
    return true
  }

  /// The holder is still there: the lease ends in `ttlNS`, or when it may last no longer. Nil where there is none.
  mutating func extend(_ id: String, ttlNS: UInt64, now: UInt64) -> Holding? {
    guard var holding = leases[id], holding.expiresNS > now else { return nil }
    holding.expiresNS = min(now + ttlNS, holding.lastNS)
    // A timer that comes too early is set again then: a heartbeat costs none.
    if holding.expiresNS < holding.timerNS {
      holding.timerNS = holding.expiresNS
      timers.insert(Timer(at: holding.expiresNS, kind: .lease(id)))
    }
    leases[id] = holding
    return holding
  }

  /// Ends a lease; nil where there is none.
  mutating func end(_ id: String, now: UInt64) -> Holding? {
    guard let holding = leases[id], let slot = slots[holding.vm] else { return nil }
    retire(holding.vm, slot)
    settle(holding.pool, now)
    return holding
  }

  /// Time has passed.
  mutating func tick(now: UInt64) {
    while let timer = timers.min, timer.at <= now {
      timers.removeMin()
      switch timer.kind {
      case .lease(let id): leaseTimer(id, now)
      case .waiter(let key, let waiter):
        guard books[key]?.queue.remove(waiter) == true else { continue }
        actions.append(.refuse(waiter: waiter, .exhausted(waiting: books[key]?.queue.count ?? 0)))
        settle(key, now)
      case .retry: feed(now)
      }
    }
  }

  private mutating func leaseTimer(_ id: String, _ now: UInt64) {
    guard let holding = leases[id] else { return }
    if holding.expiresNS > now {
      guard holding.timerNS <= now else { return }
      leases[id]?.timerNS = holding.expiresNS
      timers.insert(Timer(at: holding.expiresNS, kind: .lease(id)))
    } else if let ended = end(id, now: now) {
      actions.append(.ended(ended, .expired))
    }
  }

  // MARK: Balance

  /// There is room again: whoever could not be served for want of it is looked at.
  private mutating func feed(_ now: UInt64) {
    for key in hungry { makeRoom(key, now) }
  }

  /// Brings a pool as near to its declaration as can be done without making VMs.
  private mutating func settle(_ key: PoolKey, _ now: UInt64) {
    while let waiter = atBook(key, { $0.queue.first }) ?? nil, let holding = grant(waiter, key, now) {
      _ = books[key]?.queue.popFirst()
      actions.append(.grant(waiter: waiter.id, holding))
    }
    guard let (isDraining, isPaused) = atBook(key, { ($0.isDraining, $0.specification.isPaused) }) else { return }
    if isDraining { return settleDraining(key) }
    if !isPaused {
      for vm in atBook(key, { $0.surplus }) ?? [] { if let slot = slots[vm] { retire(vm, slot) } }
      makeRoom(key, now)
    }
    let lacks = atBook(key) { book in
      if book.isExhausted, !book.ready.isEmpty { book.isExhausted = false }
      return book.deficit > 0
    }
    if lacks == true, !isClosed {
      hungry.insert(key)
    } else {
      hungry.remove(key)
      books[key]?.limitedBy = nil
    }
  }

  private mutating func settleDraining(_ key: PoolKey) {
    hungry.remove(key)
    guard let book = books[key] else { return }
    if book.leased == 0, book.taken == 0, names[book.name] == key { names[book.name] = nil }
    if book.total == 0 {
      books[key] = nil
      actions.append(.gone(key))
    }
  }

  /// Where VMs of an old declaration stand in the way of new ones, one of them goes, if that leaves the pool enough.
  private mutating func makeRoom(_ key: PoolKey, _ now: UInt64) {
    guard let oldest = atBook(key, { $0.replaceable }) ?? nil, let slot = slots[oldest], let book = books[key],
      book.isFull || budget.refusal(of: book.specification.vm.footprint) != nil
    else { return }
    retire(oldest, slot)
  }
}

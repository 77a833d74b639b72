import Access

/// One pool's stock, queue and failures: what `Ledger` knows of it.
struct PoolState: Sendable {
  let key: Ledger.PoolKey
  let name: String
  /// Whose pool it is.
  let tenant: Tenant
  var specification: PoolSpecification
  /// Which declaration of what the VMs are made of holds.
  private(set) var revision: UInt64
  /// The stock: VMs to be leased, oldest first; those of an older declaration apart.
  private(set) var ready = SequenceMap<String>()
  private(set) var outdated = SequenceMap<String>()
  private var nextStockNumber: UInt64 = 1
  /// VMs being made; those of an older declaration apart.
  var creating = 0
  var creatingOutdated = 0
  /// What its VMs are cloned from, where its declaration says so.
  var template = Template.absent
  /// Templates being made, and those of older declarations that are being given up.
  var booting = 0
  var leased = 0
  /// Those of them whose lease is not on record yet: they may come back.
  var unconfirmed = 0
  var taken = 0
  var resetting = 0
  var retiring = 0
  var quarantined = 0
  /// Clients that wait.
  var queue = FairQueue()
  var backoff = RefillBackoff()
  /// Why no VM is made although one is wanted: the host has no room, or its tenant may not have one more.
  var limitedBy: RoomRefusal?
  /// It is deleted once the last lease has ended.
  var isDraining = false
  /// A client was refused or had to wait since there was last a VM in stock.
  var isExhausted = false
  /// `Ledger.creationsBegun` when it was last given one.
  var servedAt: UInt64 = 0

  /// How far the template of the declaration that holds has come.
  enum Template: Sendable {
    case absent, booting, ready
  }

  init(key: Ledger.PoolKey, name: String, specification: PoolSpecification, revision: UInt64) {
    self.key = key
    self.name = name
    tenant = Tenant.split(name).tenant
    self.specification = specification
    self.revision = revision
  }

  /// All its VMs, those being made, reset or taken apart among them.
  var total: Int {
    ready.count + outdated.count + creating + creatingOutdated + leased + taken + resetting + retiring + quarantined
  }

  var isFull: Bool { specification.maxVMs.map { total >= $0 } ?? false }

  /// Whether none of its VMs is being made, reset or taken apart.
  private var isAtRest: Bool { creating == 0 && resetting == 0 && retiring == 0 }

  /// Why its VMs of an older declaration are not replaced; nil where they are, or there are none.
  var hindrance: String? {
    guard let most = specification.maxVMs, isFull, hasSource, deficit > 0, isAtRest, !outdated.isEmpty,
      replaceable == nil
    else { return nil }
    return "max_vms (\(most)) leaves no room to make VMs of the new declaration beside the "
      + "\(specification.ready.lowerBound) (ready.min) that have to be there: they are replaced as they are leased; "
      + "raise max_vms, or lower ready.min"
  }

  /// Why a client found no VM in stock, where waiting longer will not help, or not by itself.
  func shortage(hasWaited: Bool) -> PoolShortage? {
    if specification.isPaused { return .paused }
    if backoff.failures > 0, let detail = backoff.lastFailure { return .failing(detail) }
    if let limitedBy { return .noRoom(limitedBy) }
    if isFull, isAtRest, let most = specification.maxVMs { return .full(maxVMs: most) }
    if specification.ready.upperBound == 0, !hasWaited { return .keepsNone }
    return nil
  }

  /// VMs that it lacks: those of its declaration, and one for each client that waits.
  var deficit: Int {
    if isDraining || specification.isPaused { return 0 }
    return max(specification.ready.upperBound, queue.count) - ready.count - creating - resetting - unconfirmed
  }

  /// VMs that have to be made. A pool that resets its VMs counts on the leased ones to come back. It makes others for its floor
  /// and for clients that wait.
  var shortfall: Int {
    guard specification.resets, template == .ready, outdated.isEmpty else { return deficit }
    let ready = specification.ready
    let goal = max(ready.lowerBound, ready.upperBound - (leased - unconfirmed), queue.count)
    return deficit - max(ready.upperBound, queue.count) + goal
  }

  /// Whether a VM whose lease has ended is to be reset rather than taken apart: a clone of the template that holds, which the
  /// pool lacks.
  func wantsBack(_ record: Ledger.VMRecord) -> Bool {
    specification.resets && template == .ready && record.revision == revision && deficit > 0
  }

  /// VMs in stock beyond the declaration, the outdated first.
  var surplus: [String] {
    let count = ready.count + outdated.count - specification.ready.upperBound
    guard count > 0 else { return [] }
    return Array(outdated.prefix(count)) + ready.prefix(max(0, count - outdated.count))
  }

  /// Whether there is what its VMs are made from: their image, or a template.
  var hasSource: Bool { !specification.needsTemplate || template == .ready }

  /// Whether a template has to be made, first of all.
  var lacksTemplate: Bool {
    specification.needsTemplate && template == .absent && !isDraining && !specification.isPaused
  }

  /// Whether that may be done now, as far as the pool is concerned.
  func mayBoot(now: UInt64) -> Bool { lacksTemplate && backoff.allows(now: now, creating: 0) }

  /// Whether one more may be made now, as far as the pool is concerned.
  func mayCreate(now: UInt64) -> Bool {
    hasSource && shortfall > 0 && !isFull && backoff.allows(now: now, creating: creating)
      && creating + creatingOutdated < specification.refillConcurrency ?? .max
  }

  /// How much it needs the next VM that is made, in relation to others. The emptiest comes first, in proportion to its
  /// own size, so that a small pool counts as much as a big one. A pool with waiting clients, or below its floor, comes
  /// before all that are neither. Waiting makes up for everything in the end, so no pool starves.
  func urgency(at creationsBegun: UInt64) -> Double {
    let wanted = max(specification.ready.upperBound, queue.count)
    let share = Double(shortfall) / Double(wanted)
    let isPressing = !queue.isEmpty || ready.count + outdated.count < specification.ready.lowerBound
    return share + (isPressing ? 1 : 0) + Double(creationsBegun - servedAt) / 32
  }

  /// What its VMs are made of has changed.
  mutating func replace(with revision: UInt64) {
    self.revision = revision
    for (number, vm) in ready.page(after: nil, limit: .max) { outdated.insert(vm, at: number) }
    ready = SequenceMap()
    creatingOutdated += creating
    creating = 0
  }

  /// Puts a new VM into the stock, and returns its number there.
  mutating func addToStock(_ vm: String) -> UInt64 {
    defer { nextStockNumber += 1 }
    ready.insert(vm, at: nextStockNumber)
    return nextStockNumber
  }

  /// The next VM to be leased.
  var nextInStock: String? { ready.first ?? outdated.first }

  /// Takes the next VM from the stock, to be leased.
  mutating func leaseFirst() -> String? {
    guard let vm = ready.popFirst()?.value ?? outdated.popFirst()?.value else { return nil }
    leased += 1
    unconfirmed += 1
    return vm
  }

  /// Puts a leased VM where it was.
  mutating func returnToStock(_ vm: String, _ record: Ledger.VMRecord) {
    leased -= 1
    unconfirmed -= 1
    if record.revision == revision {
      ready.insert(vm, at: record.stockNumber)
    } else {
      outdated.insert(vm, at: record.stockNumber)
    }
  }

  /// Takes a VM out of the stock.
  mutating func removeFromStock(_ record: Ledger.VMRecord) {
    if record.phase == .ready { ready.remove(record.stockNumber) } else { outdated.remove(record.stockNumber) }
  }

  /// A VM of an older declaration that may go before a new one is there: one at a time, and never below the floor.
  var replaceable: String? {
    guard !outdated.isEmpty, !specification.isPaused, isAtRest, deficit > 0,
      ready.count + outdated.count > specification.ready.lowerBound
    else { return nil }
    return outdated.first
  }
}

/// How long a pool waits after making a VM has failed: twice as long each time, up to half a minute, with jitter. Until
/// one attempt has succeeded there is only one at a time; after five failures in a row the breaker is said to be open.
struct RefillBackoff: Sendable, Equatable {
  static let breakerFailures = 5

  private(set) var failures = 0
  private(set) var lastFailure: String?
  private(set) var lastFailureNS: UInt64 = 0
  private(set) var nextAttemptNS: UInt64 = 0

  var isOpen: Bool { failures >= Self.breakerFailures }

  func allows(now: UInt64, creating: Int) -> Bool { failures == 0 || (now >= nextAttemptNS && creating == 0) }

  /// When to try again; nil where another that failed at the same time has set it.
  mutating func failed(_ detail: String, now: UInt64, jitter: Double) -> UInt64? {
    lastFailure = detail
    lastFailureNS = now
    if failures > 0, now < nextAttemptNS { return nil }
    failures += 1
    let longest = min(UInt64(100_000_000) << UInt64(min(failures - 1, 20)), 30_000_000_000)
    nextAttemptNS = now + longest / 2 + UInt64(Double(longest / 2) * jitter)
    return nextAttemptNS
  }
}

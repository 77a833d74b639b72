import Access
import Containers
import HeapModule
import MachineRuntime

/// What all pools own, owe and do next, as one pure state machine: no VMs, no clock, no threads, no storage.
///
/// Each event is a method. `takeActions` returns what the caller has to do because of it, and `nextCreation` the VMs to
/// make, one at a time. Times are nanoseconds of a clock that never goes back.
///
/// `LedgerStock` holds what happens to single VMs, `LedgerPools` the declarations, `LedgerRefill` which VM is made next,
/// and `LedgerLeases` hand-overs, queues and time. `LedgerResets` decides what becomes of a VM whose lease has ended.
struct Ledger: Sendable {
  typealias PoolKey = Int

  /// What the ledger knows of one VM.
  struct VMRecord: Sendable, Equatable {
    /// Nil for one made by hand.
    let pool: PoolKey?
    let footprint: Footprint
    /// Whose quotas it counts for: its pool's tenant, or its lease's while it is leased.
    var tenant: Tenant
    /// Which declaration it was made from.
    var revision: UInt64 = 0
    /// Its place in its pool's stock, where it keeps it even while it is leased.
    var stockNumber: UInt64 = 0
    var phase: Phase
  }

  enum Phase: Sendable, Equatable {
    /// Made by hand, or a pool's that a client controls without a lease.
    case taken
    /// In its pool's stock.
    case ready
    /// As `ready`, of a declaration that no longer holds: it is replaced when that leaves enough.
    case outdated
    /// Under the lease of that id.
    case leased(String)
    /// Between two owners: it is being put back to its template, and no client may touch it.
    case resetting
    /// It is being taken apart, and no client may touch it.
    case retiring
    /// It could not be taken apart in time.
    case quarantined
  }

  /// One hand-over of a VM.
  struct LeaseGrant: Sendable, Equatable {
    let id: String
    let vm: String
    let pool: PoolKey
    let tenant: Tenant
    let fence: UInt64
    let grantedNS: UInt64
    var expiresNS: UInt64
    /// It cannot be extended beyond this.
    let lastNS: UInt64
    /// When its timer runs out: at `expiresNS` or earlier.
    var timerNS: UInt64
    /// Whether it is on record. Until then its pool does not make a VM in the place of the one that is leased.
    var isConfirmed = false
  }

  /// A VM to be made, or a template.
  struct Creation: Sendable, Equatable {
    let pool: PoolKey
    let name: String
    let revision: UInt64
    let specification: VMSpecification
    /// How far a template's guest has to come; nil for a VM of the pool.
    var boot: Boot?

    /// Whose pool it is for.
    var tenant: Tenant { Tenant.split(name).tenant }
  }

  /// How far a template's guest has to come, and how long it may take to print what is looked for.
  struct Boot: Sendable, Equatable {
    let point: ReadyPoint
    let timeoutNS: UInt64
  }

  enum Action: Sendable, Equatable {
    /// A waiter's turn has come.
    case grant(waiter: UInt64, LeaseGrant)
    /// A waiter has waited in vain.
    case refuse(waiter: UInt64, LeaseRefusal)
    /// Take the VM apart, and call `retired` when it is gone.
    case retire(vm: String)
    /// Put the VM back to its template, and call `reset` or `resetFailed`.
    case reset(vm: String)
    /// The template of that revision has no use any more: let go of it, or give up making it.
    case dropTemplate(revision: UInt64)
    /// A lease has ended, other than by its holder's own word.
    case ended(LeaseGrant, LeaseEnd)
    /// All that is left of a deleted pool are VMs that cannot be taken apart.
    case onlyQuarantinedLeft(PoolKey)
    /// Nothing of a deleted pool is left.
    case gone(PoolKey)
    /// Something to publish about a pool.
    case note(pool: String?, PoolNote)
  }

  enum TimerKind: Sendable { case lease(String), waiter(PoolKey, UInt64), retry }

  struct Timer: Sendable, Comparable {
    let at: UInt64
    let kind: TimerKind
    static func == (one: Timer, other: Timer) -> Bool { one.at == other.at }
    static func < (one: Timer, other: Timer) -> Bool { one.at < other.at }
  }

  let limits: FleetLimits
  var pools: [PoolKey: PoolState] = [:]
  /// The pools that can be found by name: those that are deleted and only have VMs taken apart cannot.
  var keys = SortedMap<String, PoolKey>()
  var vms: [String: VMRecord] = [:]
  var leases: [String: LeaseGrant] = [:]
  var budget: HostBudget
  var tenants = TenantBook()
  var isClosed = false
  var creationsInFlight = 0
  /// Pools that lack VMs.
  var underfilled: Set<PoolKey> = []
  var timers = Heap<Timer>()
  /// Timers of leases and waiters that are no more, roughly.
  var deadTimers = 0
  var actions: [Action] = []
  var nextFence: UInt64
  var nextKey = 1
  var nextRevision: UInt64 = 1
  /// Creations begun so far: the clock by which a pool that waits for its turn grows old.
  var creationsBegun: UInt64 = 0

  /// An empty ledger whose first hand-over has fence `firstFence`.
  init(limits: FleetLimits, firstFence: UInt64 = 1) {
    self.limits = limits
    budget = HostBudget(limits: limits)
    nextFence = firstFence
  }

  /// What has to be done since this was called last, in order.
  mutating func takeActions() -> [Action] {
    defer { actions.removeAll(keepingCapacity: true) }
    return actions
  }

  /// When `tick` is due next; nil for never.
  var nextTick: UInt64? { timers.min?.at }

  /// The pool of that name.
  func pool(_ name: String) -> PoolState? { keys[name].flatMap { pools[$0] } }

  // MARK: Room

  /// Why there is no room for one more VM of a tenant; nil if there is.
  func refusal(of footprint: Footprint, for tenant: Tenant) -> RoomRefusal? {
    budget.refusal(of: footprint).map { .host($0) } ?? tenants.refusal(of: footprint, for: tenant).map { .quota($0) }
  }

  mutating func takeRoom(_ footprint: Footprint, for tenant: Tenant) {
    budget.add(footprint)
    tenants.add(footprint, for: tenant)
  }

  mutating func freeRoom(_ footprint: Footprint, of tenant: Tenant) {
    budget.remove(footprint)
    tenants.remove(footprint, for: tenant)
  }

  /// A VM counts for another tenant from now on.
  mutating func move(_ vm: String, to tenant: Tenant) {
    guard let record = vms[vm], record.tenant != tenant else { return }
    tenants.remove(record.footprint, for: record.tenant)
    tenants.add(record.footprint, for: tenant)
    vms[vm]?.tenant = tenant
  }

  /// What tenants may have changes. What is there stays.
  mutating func declareTenants(_ declarations: [Tenant: TenantDeclaration], now: UInt64) {
    tenants.declarations = declarations
    useFreedRoom(now)
  }

  /// Reads or changes a pool in place: changing a copy would copy its whole stock.
  mutating func withPool<Value>(_ key: PoolKey, _ body: (inout PoolState) -> Value) -> Value? {
    pools.index(forKey: key).map { body(&pools.values[$0]) }
  }
}

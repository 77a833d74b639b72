import APIModel
import Access
import MachineRuntime
import PoolManager

extension EventLog {
  /// Publishes what happens in the fleet; its observer.
  public func publish(_ event: FleetEvent) {
    switch event {
    case .vm(let vm, let state):
      var event = EventDocument.now("vm." + (state?.name ?? "deleted"), pool: vm.pool, vm: vm.id)
      if let stop = state.flatMap(StopDocument.init) {
        (event.reason, event.exitCode, event.detail) = (stop.reason, stop.exitCode, stop.detail)
      }
      publish(event, of: vm.tenant)
    case .lease(let lease, let isNew):
      publish(.now(isNew ? "lease.granted" : "lease.extended", lease), of: lease.tenant)
    case .ended(let lease, let end):
      publish(
        .now("lease." + (end.isLoss ? "lost" : end.rawValue), lease, detail: end.isLoss ? end.rawValue : nil),
        of: lease.tenant)
    case .pool(let name, let isNew):
      let word = isNew.map { $0 ? "declared" : "changed" } ?? "deleted"
      publish(.now("pool." + word, pool: name), of: Tenant.split(name).tenant)
    case .note(let pool, let note):
      // What is to say of a pool is said to its tenant. A VM that no pool has is the operator's to look after.
      let tenant = pool.map { Tenant.split($0).tenant } ?? .standard
      switch note {
      case .exhausted: publish(.now("pool.exhausted", pool: pool), of: tenant)
      case .recovered: publish(.now("pool.recovered", pool: pool), of: tenant)
      case .failing(let detail): publish(.now("pool.failing", pool: pool, detail: detail), of: tenant)
      case .limited(let refusal): publish(.now("pool.limited", pool: pool, detail: "\(refusal)"), of: tenant)
      case .quarantined(let vm): publish(.now("vm.quarantined", pool: pool, vm: vm), of: tenant)
      case .resetFailed(let vm, let detail), .resetDiffers(let vm, let detail):
        publish(.now("vm.rejected", pool: pool, vm: vm, detail: detail), of: tenant)
      }
    case .journal: break
    }
  }
}

extension EventDocument {
  fileprivate static func now(_ type: String, _ lease: Lease, detail: String? = nil) -> EventDocument {
    .now(type, pool: lease.pool, vm: lease.vm.id, lease: lease.id, detail: detail)
  }
}

extension StopDocument {
  /// nil unless the state is `stopped`.
  public init?(_ state: MachineState) {
    guard case .stopped(let stop) = state else { return nil }
    self.init(reason: stop.reason, exitCode: stop.exitCode.map { Int($0) }, detail: stop.crash)
  }
}

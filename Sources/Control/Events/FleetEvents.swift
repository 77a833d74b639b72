import APIModel
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
      publish(event)
    case .lease(let lease, let isNew): publish(.now(isNew ? "lease.granted" : "lease.extended", lease))
    case .ended(let lease, let end):
      publish(.now("lease." + (end.isLoss ? "lost" : end.rawValue), lease, detail: end.isLoss ? end.rawValue : nil))
    case .pool(let name, let isNew):
      let word = isNew.map { $0 ? "declared" : "changed" } ?? "deleted"
      publish(.now("pool." + word, pool: name))
    case .note(let pool, let note):
      switch note {
      case .exhausted: publish(.now("pool.exhausted", pool: pool))
      case .recovered: publish(.now("pool.recovered", pool: pool))
      case .failing(let detail): publish(.now("pool.failing", pool: pool, detail: detail))
      case .limited(let refusal): publish(.now("pool.limited", pool: pool, detail: "\(refusal)"))
      case .quarantined(let vm): publish(.now("vm.quarantined", pool: pool, vm: vm))
      case .resetFailed(let vm, let detail), .resetDiffers(let vm, let detail):
        publish(.now("vm.rejected", pool: pool, vm: vm, detail: detail))
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

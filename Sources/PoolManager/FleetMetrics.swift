import MachineRuntime
import VCPURuntime

extension Fleet {
  /// Every pool's metrics, and those of the VMs outside of pools.
  public var metrics: [PoolMetrics] {
    struct Sample {
      let pool: PoolState?
      let vms: [VM]
      var states: [String: Int]
      let retired: VCPUCounts
      let measurements: PoolMeasurements
      let template: PoolTemplate?
    }
    // The lists and the retired counts in one step; the sums, which only grow, with no lock held.
    let samples = read { tables -> [Sample] in
      func sample(_ key: Ledger.PoolKey?, _ measurements: PoolMeasurements) -> Sample {
        let pool = key.flatMap { tables.ledger.pools[$0] }
        return Sample(
          pool: pool, vms: tables.vms.items(of: key) + tables.leaving.items(of: key),
          states: tables.vms.counts(of: key).merging(tables.leaving.counts(of: key), uniquingKeysWith: +),
          retired: measurements.retiredCounts, measurements: measurements,
          template: pool.flatMap { tables.templates[$0.revision] })
      }
      var outside = sample(nil, standalone)
      // Those of pools that are deleted otherwise would be in no metric.
      for (key, pool) in tables.ledger.pools where tables.ledger.keys[pool.name] != key {
        outside.states[Self.quarantinedState, default: 0] += pool.quarantined
      }
      return [outside]
        + tables.ledger.keys.keys.compactMap { name in
          guard let key = tables.ledger.keys[name], let measurements = tables.measurements[key] else { return nil }
          return sample(key, measurements)
        }
    }
    return samples.map { sample in
      var counts = sample.retired
      for vm in sample.vms { counts += vm.machine.counts }
      var states = sample.states
      let pool = sample.pool
      if let pool {
        // A VM that was handed over and is not started has the state, and is not to be had.
        let unstarted = states["ready"] ?? 0
        let stock = min(pool.ready.count + pool.outdated.count, unstarted)
        states["ready"] = stock
        states["taken"] = unstarted - stock
      }
      states[Self.quarantinedState, default: 0] += 0
      states["creating"] = pool.map { $0.creating + $0.creatingOutdated } ?? 0
      return PoolMetrics(
        pool: pool?.name, target: pool?.specification.ready.upperBound,
        maxVMs: pool?.specification.maxVMs, vms: states, leased: pool?.leased ?? 0,
        waiting: pool?.queue.count ?? 0, refillFailures: pool?.backoff.failures ?? 0,
        template: pool.flatMap { $0.specification.needsTemplate ? TemplateStatus($0, sample.template) : nil },
        counts: counts, measurements: sample.measurements)
    }
  }
}

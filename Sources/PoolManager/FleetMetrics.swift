import MachineRuntime
import VCPURuntime

extension Fleet {
  /// Every pool's metrics, and those of the VMs created by hand.
  public var metrics: [PoolMetrics] {
    struct Look {
      let book: PoolBook?
      let vms: [VM]
      let retired: VCPUCounts
      let measurements: PoolMeasurements
    }
    // The lists and the retired counts in one step; the sums, which only grow, at leisure.
    let looks = look { tables -> [Look] in
      let all = Array(tables.vms.values) + tables.leaving.values
      let byPool = Dictionary(grouping: all) { ObjectIdentifier($0.measurements) }
      func look(_ book: PoolBook?, _ measurements: PoolMeasurements) -> Look {
        Look(
          book: book, vms: byPool[ObjectIdentifier(measurements)] ?? [], retired: measurements.retiredCounts,
          measurements: measurements)
      }
      return [look(nil, byHand)]
        + tables.ledger.names.sorted { $0.key < $1.key }.compactMap { _, key in
          tables.measurements[key].map { look(tables.ledger.books[key], $0) }
        }
    }
    return looks.map { look in
      var counts = look.retired
      for vm in look.vms { counts += vm.machine.counts }
      var states = Self.countByState(look.vms)
      if let book = look.book {
        // A VM that was handed over and is not started has the state, and is not to be had.
        let unstarted = states["ready"] ?? 0
        let stock = min(book.ready.count + book.outdated.count, unstarted)
        states["ready"] = stock
        states["taken"] = unstarted - stock
      }
      states["creating"] = look.book.map { $0.creating + $0.creatingOutdated } ?? 0
      states["quarantined"] = look.book?.quarantined ?? 0
      return PoolMetrics(
        pool: look.book?.name, target: look.book?.specification.ready.upperBound,
        maxVMs: look.book?.specification.maxVMs, vms: states,
        leased: look.book?.leased ?? 0, waiting: look.book?.queue.count ?? 0,
        refillFailures: look.book?.backoff.failures ?? 0, counts: counts, measurements: look.measurements)
    }
  }
}

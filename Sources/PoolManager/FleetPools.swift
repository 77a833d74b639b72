import LinuxSupport
import MachineRuntime

// Pools: declared, looked at and deleted.

extension Fleet {
  /// Declares a pool, or declares it anew. Returns how it stands, and whether it is new; the VMs are made later.
  @discardableResult
  public func declare(_ name: String, _ specification: PoolSpecification) throws(FleetError) -> (
    PoolStatus, isNew: Bool
  ) {
    let result = step { tables, now -> Result<(PoolStatus, isNew: Bool), FleetError> in
      do throws(FleetError) {
        let isNew = try tables.ledger.declare(name, specification, now: now)
        guard let book = tables.ledger.book(name) else { return .failure(.noSuchPool(name)) }
        if isNew { tables.measurements[book.key] = PoolMeasurements() }
        setProbe(book.key, specification.probeIntervalNS, &tables)
        observe(.pool(name, isNew: isNew))
        return .success((Self.status(book, tables, now), isNew))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// How a pool stands.
  public func pool(_ name: String) throws(FleetError) -> PoolStatus {
    let now = MonotonicClock.now()
    guard let status = look({ tables in tables.ledger.book(name).map { Self.status($0, tables, now) } }) else {
      throw .noSuchPool(name)
    }
    return status
  }

  /// All pools, by name.
  public var pools: [PoolStatus] {
    let now = MonotonicClock.now()
    return look { tables in
      tables.ledger.names.keys.sorted().compactMap { name in
        tables.ledger.book(name).map { Self.status($0, tables, now) }
      }
    }
  }

  /// Deletes a pool with its VMs, started ones too: now, leases and all (`force`), or once the last lease has ended.
  /// `whenGone` is called, on any thread, when nothing is left of it. Returns whether leases are waited for.
  public func deletePool(
    _ name: String, force: Bool = false, whenGone: @escaping @Sendable () -> Void = {}
  ) throws(FleetError) -> Bool {
    let result = step { tables, now -> Result<Bool, FleetError> in
      do throws(FleetError) {
        let isNew = tables.ledger.book(name)?.isDraining == false
        let (key, waits) = try tables.ledger.delete(pool: name, force: force, now: now)
        tables.gone[key, default: []].append(whenGone)
        if isNew { observe(.pool(name, isNew: nil)) }
        return .success(waits)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  static func status(_ book: PoolBook, _ tables: borrowing Tables, _ now: UInt64) -> PoolStatus {
    PoolStatus(book, states: countByState(tables.vms.values.filter { $0.pool == book.name }), now: now)
  }

  static func countByState(_ vms: some Sequence<VM>) -> [String: Int] {
    vms.reduce(into: [:]) { $0[$1.machine.state.name, default: 0] += 1 }
  }
}

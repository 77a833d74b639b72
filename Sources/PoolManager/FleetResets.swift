import LinuxSupport
import MachineRuntime

// Resets: a VM whose lease has ended is put back to its template, and its machine goes on as another VM.

extension Fleet {
  /// Why a VM was not reset.
  private enum ResetFailure: Error {
    case failed(MachineTemplateError)
    case differs([String])
  }

  /// Puts a VM back to its template, or has it destroyed where that fails or is of no use any more. On a thread for resets,
  /// once its vCPUs have stopped and its clients' requests are over.
  func reset(_ vm: VM) {
    let beganNS = MonotonicClock.now()
    do throws(ResetFailure) {
      let successor = try putBack(vm, untilNS: beganNS + limits.retirementNS)
      vm.retirementAlarm.cancel()
      if install(successor, after: vm) {
        vm.measurements.resets.count(.ok)
        return vm.measurements.resetTime.record(ns: MonotonicClock.now() - beganNS)
      }
    } catch {
      giveUp(vm, error)
    }
    destroy(vm)
  }

  /// Puts its machine back, and compares it with the template where that is due. Returns the VM that it is then.
  private func putBack(_ vm: VM, untilNS deadlineNS: UInt64) throws(ResetFailure) -> VM {
    let verification =
      read { tables in vm.pool.flatMap { tables.ledger.pool($0)?.specification.verification } } ?? .full
    let successor = vm.successor(id: Self.newVMID())
    let (machine, resets) = (vm.machine.whole, vm.measurements.resets)
    let number = resets.begin()
    let differences: [String]
    do throws(MachineTemplateError) {
      resets.count(pages: try machine.reset())
      differences = verification.includes(number) ? try machine.differences(untilNS: deadlineNS) : []
    } catch { throw .failed(error) }
    guard differences.isEmpty else { throw .differs(differences) }
    return successor
  }

  /// Enters the VM that a machine is after its reset. False where that has no use any more.
  private func install(_ successor: VM, after vm: VM) -> Bool {
    update { tables, now in
      guard tables.ledger.reset(vm.id, as: successor.id, now: now) else {
        tables.leaving.setState(vm.id, vm.machine.state.name)
        return false
      }
      // In one step, so that no scrape sees the counts twice or not at all.
      vm.addCountsToPool()
      let left = tables.leaving.remove(vm.id)
      successor.occupant.vm = successor.id
      insert(successor, pool: left?.pool, &tables)
      observe(.vm(successor, state: .ready))
      return true
    }
  }

  private func giveUp(_ vm: VM, _ failure: ResetFailure) {
    let note: PoolNote
    switch failure {
    case .failed(let error):
      vm.measurements.resets.count(.failed)
      note = .resetFailed(vm: vm.id, "\(error)")
    case .differs(let differences):
      vm.measurements.resets.count(.differed)
      note = .resetDiffers(vm: vm.id, differences.joined(separator: ", "))
    }
    update { tables, now in
      tables.ledger.resetFailed(vm.id, now: now)
      tables.leaving.setState(vm.id, vm.machine.state.name)
      observe(.note(pool: vm.pool, note))
    }
  }
}

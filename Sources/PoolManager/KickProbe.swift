import LinuxSupport
import MachineRuntime
import Synchronization

/// Kicks one of a pool's running VMs now and then. So the pool's latency histogram shows how the host is doing before a
/// client's kick does. It goes on until its owner releases it.
final class KickProbe: Sendable {
  let intervalNS: UInt64
  private let alarm = Alarm()
  private let workers: WorkerPool
  private let pick: @Sendable () -> VM?
  /// A guest that does not answer is waited for no longer.
  private static let patienceNS: UInt64 = 1_000_000_000

  /// Asks `pick` for a VM every `intervalNS`, and has one of the `workers` kick one of its vCPUs.
  init(everyNS intervalNS: UInt64, on workers: WorkerPool, _ pick: @escaping @Sendable () -> VM?) {
    self.intervalNS = intervalNS
    self.workers = workers
    self.pick = pick
    setAlarm()
  }

  private func setAlarm() {
    alarm.set(atNS: MonotonicClock.now() + intervalNS) { [weak self] in self?.ring() }
  }

  private func ring() {
    setAlarm()
    // Where all are busy, this probe is left out: it would say nothing that the others do not.
    try? workers.submit { [pick] in if let vm = pick() { Self.kick(vm) } }
  }

  private static func kick(_ vm: VM) {
    do throws(MachineControlError) {
      let kicks = try vm.machine.requestKicks(vcpu: Int.random(in: 0..<vm.machine.configuration.vcpus))
      do throws(MachineControlError) {
        vm.record(try kicks.wait(untilNS: MonotonicClock.now() + patienceNS), of: kicks)
      } catch {
        if case .timedOut = error { kicks.countTimeouts() }
      }
    } catch {
      // It has stopped since it was picked: there is nothing to kick.
    }
  }
}

extension Fleet {
  /// Sees to it that a pool is probed as declared.
  func setProbe(_ key: Ledger.PoolKey, _ intervalNS: UInt64?, _ tables: inout Tables) {
    guard let intervalNS else {
      tables.probes[key] = nil
      return
    }
    if tables.probes[key]?.intervalNS == intervalNS { return }
    tables.probes[key] = KickProbe(everyNS: intervalNS, on: probing) { [weak self] in self?.anyRunningVM(of: key) }
  }

  private func anyRunningVM(of key: Ledger.PoolKey) -> VM? {
    let vms = read { tables in
      tables.vms.counts(of: key)["running", default: 0] > 0 ? tables.vms.items(of: key) : []
    }
    return vms.filter { $0.machine.state == .running }.randomElement()
  }
}

import LinuxSupport
import MachineRuntime
import Synchronization
import VCPURuntime

/// Kicks one of a pool's running VMs now and then. So the pool's latency histogram shows how the host is doing before a
/// client's kick does. It goes on until its owner releases it.
final class KickProbe: Sendable {
  let intervalNS: UInt64
  private let alarm = Alarm()
  private let workers: WorkerPool
  private let pick: @Sendable () -> VM?
  /// A guest that does not answer is waited for no longer.
  private let patienceNS: UInt64
  /// Whether its last kick has not ended yet: then it makes no other. It orders nothing.
  private let isWaiting = Atomic(false)

  /// Asks `pick` for a VM every `intervalNS`, and has one of the `workers` kick one of its vCPUs.
  init(
    everyNS intervalNS: UInt64, patienceNS: UInt64 = 1_000_000_000, on workers: WorkerPool,
    _ pick: @escaping @Sendable () -> VM?
  ) {
    self.intervalNS = intervalNS
    self.patienceNS = patienceNS
    self.workers = workers
    self.pick = pick
    setAlarm()
  }

  private func setAlarm() {
    alarm.set(atNS: MonotonicClock.now() + intervalNS) { [weak self] in self?.ring() }
  }

  private func ring() {
    setAlarm()
    guard !isWaiting.exchange(true, ordering: .relaxed) else { return }
    do {
      // A worker does it, since it looks through the pool's VMs, and a kick is paced.
      try workers.submit { [weak self] in self?.kick() }
    } catch {
      // Where all are busy, this probe is left out: it would say nothing that the others do not.
      end()
    }
  }

  private func kick() {
    guard let vm = pick() else { return end() }
    do throws(MachineControlError) {
      let kicks = try vm.machine.requestKicks(vcpu: Int.random(in: 0..<vm.machine.configuration.vcpus))
      UnansweredKick(of: vm, kicks) { [weak self] in self?.end() }.await(forNS: patienceNS)
    } catch {
      // It has stopped since it was picked: there is nothing to kick.
      end()
    }
  }

  private func end() { isWaiting.store(false, ordering: .relaxed) }
}

/// A kick that ends with its answer, or when the probe's patience does, and occupies no thread meanwhile.
private final class UnansweredKick: Sendable {
  private let vm: VM
  private let kicks: PendingKicks
  private let ended: @Sendable () -> Void
  private let timer = DeadlineTimer()
  /// Keeps the notice; a leaf lock.
  private let notice = Mutex<AnswerNotice?>(nil)
  /// Answer or deadline, whichever comes first. Neither hands anything over to the other.
  private let isOver = Atomic(false)

  init(of vm: VM, _ kicks: PendingKicks, ended: @escaping @Sendable () -> Void) {
    self.vm = vm
    self.kicks = kicks
    self.ended = ended
  }

  /// The timer keeps this object until the kick is over.
  func await(forNS patienceNS: UInt64) {
    timer.arm(afterNS: patienceNS) { self.finish { self.kicks.countTimeouts() } }
    let notice = kicks.notify {
      // A vCPU that ended without an answer is no kick to record.
      self.finish { if let outcomes = try? self.kicks.wait(untilNS: 0) { self.vm.record(outcomes, of: self.kicks) } }
    }
    self.notice.withLock { $0 = notice }
  }

  private func finish(_ account: () -> Void) {
    guard !isOver.exchange(true, ordering: .relaxed) else { return }
    timer.cancel()
    account()
    ended()
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

import Dispatch
import LinuxSupport
import MachineRuntime
import Synchronization

/// Kicks one of a pool's running VMs now and then, so that its latency histogram tells how the host is doing before a
/// customer's kick does. It goes on until it is dropped.
final class KickProbe: Sendable {
  let intervalNS: UInt64
  /// Guards the timer; a leaf lock.
  private let timer: Mutex<any DispatchSourceTimer>
  /// A guest that does not answer is waited for no longer.
  private static let patienceNS: UInt64 = 1_000_000_000

  /// Asks `pick` for a VM every `intervalNS`, and kicks one of its vCPUs.
  init(everyNS intervalNS: UInt64, _ pick: @escaping @Sendable () -> VM?) {
    self.intervalNS = intervalNS
    let interval = DispatchTimeInterval.nanoseconds(Int(clamping: intervalNS))
    timer = Mutex(DispatchSource.makeTimerSource(queue: DispatchQueue(label: "vmpool.probe")))
    timer.withLock { timer in
      timer.setEventHandler { if let vm = pick() { Self.kick(vm) } }
      // Not to the nanosecond: probes of several pools may share a wake-up.
      timer.schedule(deadline: .now() + interval, repeating: interval, leeway: .nanoseconds(Int(intervalNS / 20)))
      timer.activate()
    }
  }

  deinit { timer.withLock { $0.cancel() } }

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
    tables.probes[key] = KickProbe(everyNS: intervalNS) { [weak self] in self?.anyRunningVM(of: key) }
  }

  private func anyRunningVM(of key: Ledger.PoolKey) -> VM? {
    look { tables in
      guard let measurements = tables.measurements[key] else { return nil }
      return tables.vms.values.filter { $0.measurements === measurements && $0.machine.state == .running }
        .randomElement()
    }
  }
}

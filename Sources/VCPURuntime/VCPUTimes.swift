import LinuxSupport
import Synchronization

// The processor time of a vCPU is its thread's: the guest runs inside of KVM_RUN.
extension VCPU {
  /// Which thread it is, and how long it ran in the end.
  enum ThreadIdentity: Sendable {
    case notYet
    case running(Int32, last: ThreadTimes?)
    case ended(ThreadTimes?)
  }

  /// By the vCPU's thread, when it begins.
  func noteThread() { identity.withLock { $0 = .running(ThreadTimes.callingThread, last: nil) } }

  /// By the vCPU's thread, at its end: its times cannot be read afterwards.
  func noteThreadEnd() {
    let times = self.times
    identity.withLock { $0 = .ended(times) }
  }

  /// How long it ran and waited for a processor; in the end, after its thread is gone. Costs a few microseconds. Where they
  /// cannot be read now, for want of a descriptor say, the last that were read: they never go backwards. Nil where the kernel
  /// keeps no such times.
  public var times: ThreadTimes? {
    // Under the lock, so that the thread does not end, and another one take its number, before its times are read.
    identity.withLock { identity in
      switch identity {
      case .notYet: return nil
      case .running(let thread, let last):
        let times = ThreadTimes(ofThread: thread) ?? last
        identity = .running(thread, last: times)
        return times
      case .ended(let times): return times
      }
    }
  }
}

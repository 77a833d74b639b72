import LinuxSupport
import Synchronization

// The processor time of a vCPU is its thread's: the guest runs inside of KVM_RUN.
extension VCPU {
  /// Which thread it is, and how long it ran in the end.
  enum ThreadIdentity: Sendable {
    case notYet
    case running(Int32)
    case ended(ThreadTimes?)
  }

  /// By the vCPU's thread, when it begins.
  func noteThread() { identity.withLock { $0 = .running(ThreadTimes.callingThread) } }

  /// By the vCPU's thread, at its end: its times cannot be read afterwards.
  func noteThreadEnd() {
    let times = ThreadTimes(ofThread: ThreadTimes.callingThread)
    identity.withLock { $0 = .ended(times) }
  }

  /// How long it ran and waited for a processor; in the end, after its thread is gone. Costs a few microseconds. Nil where
  /// the kernel keeps no such times.
  public var times: ThreadTimes? {
    // Under the lock, so that the thread does not end, and another one take its number, before its times are read.
    identity.withLock { identity in
      switch identity {
      case .notYet: nil
      case .running(let thread): ThreadTimes(ofThread: thread)
      case .ended(let times): times
      }
    }
  }
}

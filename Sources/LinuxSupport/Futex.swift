import CLinux
import SystemPackage

/// Waiting on a 32-bit word in memory, futex(2), process-private.
public enum Futex {
  /// Why a wait ended.
  public enum Outcome: Sendable, Equatable {
    /// Woken, interrupted or the word had changed: look again.
    case lookAgain
    /// The time was up.
    case timedOut
  }

  /// Waits while the word at `word` holds `expected`, for at most `timeoutNS` nanoseconds (nil: for ever).
  ///
  /// `word` must stay mapped during the call. Wake-ups may be spurious.
  @unsafe public static func wait(on word: UnsafeRawPointer, while expected: UInt32, timeoutNS: UInt64?) -> Outcome {
    let timeout = timeoutNS.map { Int64(clamping: $0) } ?? -1
    // Safe: the caller keeps the word mapped; the kernel only reads it.
    let result = unsafe clinux_futex_wait(word, expected, timeout)
    return result == -Errno.timedOut.rawValue ? .timedOut : .lookAgain
  }

  /// Wakes everyone who waits on the word at `word`.
  @unsafe public static func wakeAll(_ word: UnsafeRawPointer) {
    // Safe: the kernel uses the address only as a key.
    _ = unsafe clinux_futex_wake(word, Int32.max)
  }
}

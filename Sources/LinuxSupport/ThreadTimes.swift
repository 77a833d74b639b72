import CLinux
import Glibc

/// How long a thread has run, and how long it could have run and had no processor.
public struct ThreadTimes: Sendable, Equatable {
  /// On a processor.
  public let runningNS: UInt64
  /// Runnable, and waiting for a processor: what a guest sees as stolen time.
  public let waitingNS: UInt64

  /// The calling thread's number, gettid(2).
  public static var callingThread: Int32 { clinux_gettid() }

  /// Of thread `number` of this process. Nil when there is no such thread, or the kernel keeps no such times.
  ///
  /// Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat.
  public init?(ofThread number: Int32) {
    var bytes = [UInt8](repeating: 0, count: 96)
    let length = Self.read("/proc/self/task/\(number)/schedstat", into: &bytes)
    let words = bytes.prefix(length).split { $0 == 0x20 || $0 == 0x0A }
    guard words.count >= 2, let running = Self.number(words[0]), let waiting = Self.number(words[1]) else { return nil }
    (runningNS, waitingNS) = (running, waiting)
  }

  /// Reads at most one piece of a small file of the kernel's; returns how much, 0 when that fails.
  private static func read(_ path: String, into bytes: inout [UInt8]) -> Int {
    // Safe: the string and the buffer live for the calls.
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return 0 }
    defer { close(file) }
    return max(0, unsafe Glibc.read(file, &bytes, bytes.count))
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? { UInt64(String(decoding: digits, as: UTF8.self)) }
}

import Glibc
import LinuxSupport

/// What a test waited for did not come about.
public struct NeverSo: Error, CustomStringConvertible {
  /// What it waited for.
  public let description: String
}

/// Looks again and again, without sleeping, until something is so: no time to speak of, unless it never will be. Throws
/// ``NeverSo`` after two minutes.
public func waitUntil(_ what: String, _ isSo: () throws -> Bool) throws {
  let deadlineNS = MonotonicClock.now() + 120_000_000_000
  while try !isSo() {
    guard MonotonicClock.now() < deadlineNS else { throw NeverSo(description: "not within two minutes: \(what)") }
    sched_yield()
  }
}

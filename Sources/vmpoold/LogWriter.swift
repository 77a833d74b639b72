import Glibc
import HTTPServer
import LinuxSupport
import Logging
import Synchronization
import SystemPackage

/// The log. Its callers leave whole lines in a bounded buffer, and one thread writes them to a descriptor.
///
/// A caller copies its line and never waits for the descriptor. While the descriptor takes nothing (a pipe that is not
/// read, a stopped terminal), the buffer fills; further lines are dropped and counted. The thread
/// gathers lines for a few milliseconds and writes them together, so a request under load pays for no system call.
/// A process that is killed loses the lines of those milliseconds.
final class LogWriter: Sendable {
  /// Bytes that may wait to be written, beyond which lines are dropped.
  static let capacity = 1 << 20
  /// POSIX keeps a write of at most PIPE_BUF bytes in one piece beside the writes of other processes.
  private static let batchBytes = 4096
  private static let gatheringNS: UInt64 = 10_000_000

  private struct Buffer {
    /// Whole lines, the oldest first.
    var lines: [UInt8] = []
    /// Bytes that the thread has taken and not yet written.
    var inWriting = 0
    /// Lines dropped so far, and how many of them need no more report.
    var dropped: UInt64 = 0
    var reported: UInt64 = 0
    /// The thread sleeps until `work` is signalled.
    var isIdle = false
    /// `flush` sleeps until `empty` is signalled.
    var isFlushing = false
  }

  private let format: LogFormat
  private let level: Logger.Level
  private let descriptor: Int32
  /// A leaf lock, held for a copy of some hundred bytes.
  private let buffer = Mutex(Buffer())
  private let work = CountingSemaphore()
  private let empty = CountingSemaphore()

  /// A log of what is at least `level`, written to `descriptor`, which stays the caller's. The thread lives as long as
  /// the process. Throws EAGAIN where there is no room for a thread.
  init(format: LogFormat, level: Logger.Level, descriptor: Int32 = 2) throws(Errno) {
    self.format = format
    self.level = level
    self.descriptor = descriptor
    // Never joined: it ends with the process.
    _ = try JoinableThread(stackBytes: 256 << 10, name: "log", role: .plain) { self.writeForEver() }
  }

  func isEnabled(_ level: Logger.Level) -> Bool { level >= self.level }

  /// Lines that were dropped since the start.
  var dropped: UInt64 { buffer.withLock { $0.dropped } }

  /// Logs one event.
  func write(_ level: Logger.Level, _ message: String, _ fields: [(String, String)]) {
    var line = LogLine(format, level.rawValue, message)
    for (name, value) in fields { line.add(name, value) }
    append(line.ended())
  }

  /// Logs one request.
  func write(_ record: HTTPAccessRecord, route: String?) {
    var line = LogLine(format, Logger.Level.info.rawValue, "request")
    line.add("method", record.method)
    line.add("path", record.rawPath)
    line.add("route", route ?? "other")
    line.add("status", number: UInt64(record.status))
    line.add("duration_ms", thousandths: record.durationNS / 1000)
    line.add("bytes", number: UInt64(record.bytesSent))
    line.add("request_id", record.requestID)
    line.add("peer", record.peer)
    if record.aborted { line.add("aborted", "true") }
    append(line.ended())
  }

  /// Waits until all lines are written, for `nanoseconds` at most. Returns false when the time was up. One caller at a
  /// time.
  func flush(forNS nanoseconds: UInt64) -> Bool {
    let isEmpty = buffer.withLock { buffer in
      guard !buffer.lines.isEmpty || buffer.inWriting > 0 else { return true }
      buffer.isFlushing = true
      return false
    }
    if isEmpty { return true }
    // Cuts the gathering short.
    work.signal()
    if empty.wait(untilNS: MonotonicClock.now() + nanoseconds) { return true }
    let isLate = buffer.withLock { buffer in
      defer { buffer.isFlushing = false }
      return !buffer.isFlushing
    }
    // The thread has ended the flush meanwhile, and its signal is due.
    if isLate { empty.wait() }
    return isLate
  }

  private func append(_ line: [UInt8]) {
    let wakes = buffer.withLock { buffer in
      guard buffer.lines.count + buffer.inWriting + line.count <= Self.capacity else {
        buffer.dropped += 1
        return false
      }
      buffer.lines += line
      let wakes = buffer.isIdle
      buffer.isIdle = false
      return wakes
    }
    if wakes { work.signal() }
  }

  // MARK: The thread

  private func writeForEver() {
    while true {
      let (lines, dropped, isFlushed) = take()
      if isFlushed { empty.signal() }
      if let lines {
        write(lines)
        if dropped > 0 { report(dropped) }
        buffer.withLock { $0.inWriting = 0 }
      } else {
        work.wait()
        // Flushing signals this, too.
        _ = work.wait(untilNS: MonotonicClock.now() + Self.gatheringNS)
      }
    }
  }

  /// The lines that wait, nil where there are none; the drops that the log has not reported; whether to end a flush.
  private func take() -> (lines: [UInt8]?, dropped: UInt64, isFlushed: Bool) {
    buffer.withLock { buffer in
      guard !buffer.lines.isEmpty || buffer.dropped > buffer.reported else {
        let isFlushed = buffer.isFlushing
        buffer.isFlushing = false
        buffer.isIdle = true
        return (nil, 0, isFlushed)
      }
      var lines: [UInt8] = []
      swap(&lines, &buffer.lines)
      buffer.inWriting = lines.count
      let dropped = buffer.dropped - buffer.reported
      buffer.reported = buffer.dropped
      return (lines, dropped, false)
    }
  }

  private func report(_ dropped: UInt64) {
    var line = LogLine(format, Logger.Level.warning.rawValue, "log lines were dropped: the log was not read in time")
    line.add("lines", number: dropped)
    write(line.ended())
  }

  /// Writes whole lines, in batches of as many as fit.
  private func write(_ lines: [UInt8]) {
    var start = 0
    while start < lines.count {
      let limit = min(start + Self.batchBytes, lines.count)
      let last = lines[start..<limit].lastIndex(of: 0x0A) ?? lines[limit...].firstIndex(of: 0x0A)
      let end = last.map { $0 + 1 } ?? lines.count
      if !put(lines[start..<end]) {
        let lost = lines[start..<end].count { $0 == 0x0A }
        buffer.withLock { buffer in
          buffer.dropped += UInt64(lost)
          // A line that says so could not be written either: the metric says it.
          buffer.reported += UInt64(lost)
        }
      }
      start = end
    }
  }

  /// Waits as long as the descriptor needs. Returns false where it cannot be written: a full disk, a closed pipe.
  private func put(_ bytes: ArraySlice<UInt8>) -> Bool {
    var rest = bytes
    while !rest.isEmpty {
      // Safe: the buffer is the whole slice, and lives for the call.
      let written = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if written >= 0 {
        rest = rest.dropFirst(written)
      } else if errno == EAGAIN {
        // Another program made the terminal or pipe that they share non-blocking.
        var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        // Safe: one local structure, as the count says.
        _ = unsafe poll(&ready, 1, -1)
      } else if errno != EINTR {
        return false
      }
    }
    return true
  }
}

/// swift-log's way to the writer.
struct LineLogHandler: LogHandler {
  let writer: LogWriter
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  init(writer: LogWriter, level: Logger.Level) {
    self.writer = writer
    logLevel = level
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var fields = metadata
    if let more = event.metadata { fields.merge(more) { $1 } }
    writer.write(
      event.level, "\(event.message)", fields.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") })
  }
}

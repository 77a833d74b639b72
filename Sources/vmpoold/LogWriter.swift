import Glibc
import HTTPServer
import Logging
import ManagementAPI

/// How a log line looks.
enum LogFormat: String, CaseIterable {
  /// `2025-01-31T12:00:00.000Z info message key=value`.
  case text
  /// One JSON object.
  case json
}

/// Writes log lines to standard error, one write(2) each, so that lines of several threads do not mix.
struct LogWriter: Sendable {
  let format: LogFormat
  let level: Logger.Level

  func isEnabled(_ level: Logger.Level) -> Bool { level >= self.level }

  /// One event.
  func write(_ level: Logger.Level, _ message: String, _ fields: [(String, String)]) {
    var line = LogLine(format, level.rawValue, message)
    for (name, value) in fields { line.add(name, value) }
    line.write()
  }

  /// One request.
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
    line.write()
  }
}

/// A log line being put together. What is not fit for a line is escaped: names and values may come from clients.
struct LogLine {
  private let format: LogFormat
  private(set) var bytes: [UInt8] = []

  init(_ format: LogFormat, _ level: String, _ message: String) {
    self.format = format
    bytes.reserveCapacity(320)
    var now = timespec()
    // Safe: a local structure; the clock always exists.
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    let time = RFC3339.text(milliseconds: Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000)
    switch format {
    // Piece by piece, here and below: a request waits for its line, and putting strings together costs more than all
    // the rest of it.
    case .text:
      put(time)
      put(" ")
      put(level)
      put(" ")
      put(message.escapedControls)
    case .json:
      put("{\"time\":\"")
      put(time)
      put("\",\"level\":\"")
      put(level)
      put("\",\"message\":")
      putQuoted(message)
    }
  }

  mutating func add(_ name: String, _ value: String) {
    putName(name)
    if format == .json || value.isEmpty || !value.utf8.allSatisfy(Self.isPlain) {
      putQuoted(value)
    } else {
      put(value)
    }
  }

  mutating func add(_ name: String, number: UInt64) {
    putName(name)
    put(number, digits: 1)
  }

  /// A number with three decimals.
  mutating func add(_ name: String, thousandths: UInt64) {
    let (whole, rest) = thousandths.quotientAndRemainder(dividingBy: 1000)
    putName(name)
    put(whole, digits: 1)
    put(".")
    put(rest, digits: 3)
  }

  /// Ends the line and sends it off.
  consuming func write() {
    if format == .json { put("}") }
    bytes.append(0x0A)
    writeBytes(to: 2, bytes)
  }

  private mutating func putName(_ name: String) {
    switch format {
    case .text:
      put(" ")
      put(name)
      put("=")
    case .json:
      put(",")
      putQuoted(name)
      put(":")
    }
  }

  private mutating func put(_ text: String) { bytes += text.utf8 }

  /// In decimal, with zeros in front where there are fewer digits.
  private mutating func put(_ number: UInt64, digits: Int) {
    let start = bytes.count
    var rest = number
    repeat {
      bytes.append(0x30 + UInt8(rest % 10))
      rest /= 10
    } while rest > 0 || bytes.count - start < digits
    bytes[start...].reverse()
  }

  /// A JSON string, which serves in both formats.
  private mutating func putQuoted(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
      case 0..<0x20, 0x7F: put(byte.asUnicodeEscape)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "=") && byte != UInt8(ascii: "\\")
  }
}

extension UInt8 {
  fileprivate var asUnicodeEscape: String { (self < 16 ? "\\u000" : "\\u00") + String(self, radix: 16) }
}

extension String {
  fileprivate var escapedControls: String {
    guard utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return self }
    return unicodeScalars.map { scalar in
      scalar.value < 0x20 || scalar.value == 0x7F ? UInt8(scalar.value).asUnicodeEscape : String(scalar)
    }.joined()
  }
}

/// Writes a line with one write(2). What cannot be written is lost: there is nowhere to say so.
func writeLine(to descriptor: Int32, _ text: String) { writeBytes(to: descriptor, Array(text.utf8) + [0x0A]) }

private func writeBytes(to descriptor: Int32, _ bytes: [UInt8]) {
  // Safe: the buffer is the whole array.
  while unsafe write(descriptor, bytes, bytes.count) < 0, errno == EINTR {}
}

/// swift-log's way to the writer.
struct LineLogHandler: LogHandler {
  let writer: LogWriter
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  init(writer: LogWriter) {
    self.writer = writer
    logLevel = writer.level
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

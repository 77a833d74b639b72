import Dispatch
import Glibc
import LinuxSupport
import Logging
import Testing

@testable import vmpoold

/// A pipe, read only when a test says so.
private final class Pipe: Sendable {
  let reading: Int32
  let writing: Int32

  init() throws {
    var ends: [Int32] = [0, 0]
    // Safe: an array of the two that the call fills.
    try #require(unsafe pipe(&ends) == 0)
    (reading, writing) = (ends[0], ends[1])
  }

  deinit {
    close(reading)
    close(writing)
  }

  /// What the pipe holds, without waiting for more.
  func contents() -> [UInt8] {
    _ = fcntl(reading, F_SETFL, O_NONBLOCK)
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      // Safe: the buffer has the length given.
      let count = unsafe read(reading, &buffer, buffer.count)
      guard count > 0 else { return all }
      all += buffer[..<count]
    }
  }

  func lines() -> [Substring] { String(decoding: contents(), as: UTF8.self).split(separator: "\n") }
}

/// The log's buffer and its thread.
struct LogWriterTests {
  @Test func linesArriveWholeAndInOrder() throws {
    let pipe = try Pipe()
    let log = try LogWriter(format: .text, level: .info, descriptor: pipe.writing)
    for number in 0..<100 { log.write(.info, "line", [("number", "\(number)")]) }
    #expect(log.flush(forNS: 10_000_000_000))
    let lines = pipe.lines()
    #expect(lines.map { $0.split(separator: " ").last } == (0..<100).map { "number=\($0)" })
    #expect(log.dropped == 0)
  }

  /// A log that is not read takes what fits, drops the rest and counts it. No caller waits: with one that did, this test
  /// would not end.
  @Test func aLogThatIsNotReadHoldsUpNoCaller() throws {
    let pipe = try Pipe()
    let log = try LogWriter(format: .json, level: .info, descriptor: pipe.writing)
    let text = String(repeating: "x", count: 1000)
    let count = 3 * LogWriter.capacity / 1000
    for _ in 0..<count { log.write(.info, text, []) }
    #expect(!log.flush(forNS: 50_000_000))
    let dropped = log.dropped
    #expect(dropped > 0)

    // Once it is read again, everything that was kept comes, and the loss is told.
    var lines = pipe.lines()
    while !log.flush(forNS: 1_000_000) { lines += pipe.lines() }
    lines += pipe.lines()
    let notes = lines.filter { $0.contains("log lines were dropped") }
    // A note for each time the buffer was full; together they say how much is missing.
    let told = notes.compactMap { $0.split(separator: ":").last?.dropLast() }.compactMap { UInt64($0) }
    #expect(told.reduce(0, +) == dropped)
    #expect(lines.count - notes.count == count - Int(dropped))
    #expect(lines.allSatisfy { $0.hasPrefix("{\"time\":") && $0.hasSuffix("}") })
    #expect(log.dropped == dropped)
  }

  @Test func linesOfManyThreadsDoNotMix() throws {
    let pipe = try Pipe()
    let log = try LogWriter(format: .text, level: .info, descriptor: pipe.writing)
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      for number in 0..<50 { log.write(.info, "line", [("of", "\(thread)"), ("number", "\(number)")]) }
    }
    #expect(log.flush(forNS: 10_000_000_000))
    let lines = pipe.lines()
    #expect(lines.count == 200)
    for thread in 0..<4 {
      let numbers = lines.filter { $0.contains(" of=\(thread) ") }.compactMap { $0.split(separator: "=").last }
      #expect(numbers == (0..<50).map { "\($0)" })
    }
  }

  /// A full disk, a closed pipe: the lines are lost, counted, and cost nothing more.
  @Test func whatCannotBeWrittenIsCounted() throws {
    // Safe: a constant path.
    let full = OwnedDescriptor(owning: unsafe open("/dev/full", O_WRONLY))
    try #require(full.rawValue >= 0)
    let log = try LogWriter(format: .text, level: .info, descriptor: full.rawValue)
    for _ in 0..<10 { log.write(.info, "lost", []) }
    while log.dropped < 10 { _ = log.flush(forNS: 1_000_000_000) }
    #expect(log.dropped >= 10)
  }

  /// Another program may have made the terminal non-blocking that both write to.
  @Test func aNonBlockingDescriptorIsWaitedFor() throws {
    let pipe = try Pipe()
    _ = fcntl(pipe.writing, F_SETFL, O_NONBLOCK)
    let log = try LogWriter(format: .text, level: .info, descriptor: pipe.writing)
    let text = String(repeating: "x", count: 1000)
    for _ in 0..<200 { log.write(.info, text, []) }
    var lines = pipe.lines()
    while !log.flush(forNS: 1_000_000) { lines += pipe.lines() }
    lines += pipe.lines()
    #expect(lines.count == 200)
    #expect(log.dropped == 0)
  }

  @Test(arguments: [
    (["vmpoold", "--log-format", "json"], true), (["vmpoold", "--log-format=json"], true), (["vmpoold"], false),
    (["vmpoold", "--log-format", "text"], false), (["vmpoold", "json"], false), (["vmpoold", "--log-format"], false),
  ])
  func theFormatIsFoundWhereTheParserFails(words: [String], isJSON: Bool) {
    #expect(Vmpoold.wantsJSON(words) == isJSON)
  }
}

import Glibc
import Testing

@testable import Metrics

@Suite(.serialized) struct ProcessMetricsTests {
  private func value(_ name: String) throws -> Double {
    let family = try #require(ProcessMetrics.collect().first { $0.name == name })
    #expect(family.samples.count == 1)
    switch try #require(family.samples.first).value {
    case .number(let number): return number
    case .integer(let integer): return Double(integer)
    case .histogram:
      Issue.record("\(name) is a histogram")
      return .nan
    }
  }

  @Test func namesAreThoseOfTheClientLibraries() {
    #expect(
      Set(ProcessMetrics.collect().map(\.name)) == [
        "process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
        "process_start_time_seconds", "process_threads", "process_open_fds", "process_max_fds",
      ])
  }

  @Test func figuresAreThisProcess() throws {
    let resident = try value("process_resident_memory_bytes")
    #expect(resident > 1_000_000)
    #expect(try resident <= value("process_virtual_memory_bytes"))
    #expect(try value("process_threads") >= 1)
    #expect(try value("process_max_fds") >= value("process_open_fds"))
    let age = Double(time(nil)) - (try value("process_start_time_seconds"))
    #expect(age > -2 && age < 86_400)
    #expect(try value("process_start_time_seconds") == value("process_start_time_seconds"))
    #expect(try value("process_cpu_seconds_total") <= Double(clock()) / Double(CLOCKS_PER_SEC) + 0.1)
  }

  @Test func openDescriptorsAreCounted() throws {
    // Other tests may open and close some meanwhile: many are opened, so that the rest cannot matter.
    let before = (
      open: Int(try #require(ProcessMetrics.openDescriptors())),
      counted: Int(try #require(ProcessMetrics.countedDescriptors()))
    )
    let opened = (0..<100).map { _ in unsafe open("/dev/null", O_RDONLY) }
    defer { for descriptor in opened { close(descriptor) } }
    try #require(opened.allSatisfy { $0 >= 0 })
    #expect(try (90...110).contains(Int(#require(ProcessMetrics.openDescriptors())) - before.open))
    #expect(try (90...110).contains(Int(#require(ProcessMetrics.countedDescriptors())) - before.counted))
  }

  @Test(arguments: ["a", "a b", "a) R 1 2 3", ":-)", ""])
  func programNameMayBeAnything(name: String) {
    let fields = (3...52).map { String($0 * 1000) }.joined(separator: " ")
    let stat = ProcessStat(parsing: Array("1 (\(name)) \(fields)\n".utf8))
    #expect(stat?.cpuTicks == 29_000)
    #expect(stat?.threads == 20_000)
    #expect(stat?.startTicks == 22_000)
    #expect(stat?.virtualBytes == 23_000)
    #expect(stat?.residentPages == 24_000)
  }

  @Test(arguments: ["", "1 (a", "1 (a) R 1 2", "1 (a) \(String(repeating: "x ", count: 50))", ")"])
  func whatIsNoStatIsRefused(text: String) {
    #expect(ProcessStat(parsing: Array(text.utf8)) == nil)
  }
}

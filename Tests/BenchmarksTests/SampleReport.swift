@testable import Benchmarks

/// Reports as benchmarks write them, of durations that tests choose.
enum SampleReport {
  static func subject(
    mechanism: String = "immediate_exit", guest: String = "spin", vcpus: Int = 1
  ) -> BenchmarkCase.Subject {
    BenchmarkCase.Subject(mechanism: mechanism, guest: guest, kickers: 1, vcpus: vcpus)
  }

  static func tally(_ figure: Figure, _ durations: [UInt64], lost: Int = 0) -> Tally {
    var tally = Tally()
    for duration in durations { tally.record(figure, duration) }
    tally.count("acknowledged", durations.count)
    tally.count("lost", lost)
    return tally
  }

  /// A case with a round for each element: that round's durations, on both sides.
  static func item(
    _ subject: BenchmarkCase.Subject = subject(), figure: Figure = .latency, rounds: [[UInt64]], lost: Int = 0
  ) -> BenchmarkCase {
    var recorder = CaseRecorder(subject)
    for durations in rounds {
      recorder.add(bare: tally(figure, durations), vmpool: tally(figure, durations, lost: lost))
    }
    return recorder.result
  }

  static func report(_ cases: [BenchmarkCase], benchmark: String = "kick") -> BenchmarkReport {
    BenchmarkReport(
      schema: BenchmarkReport.schema, benchmark: benchmark, version: "1.2.3", measuredAt: "2026-01-02T03:04:05Z",
      host: HostDescription(), isPinned: true, settings: ["rounds": 1], cases: cases)
  }
}

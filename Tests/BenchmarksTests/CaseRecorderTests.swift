import Testing

@testable import Benchmarks

@Suite struct CaseRecorderTests {
  @Test func sumsUpCountsAndComparesRoundByRound() throws {
    var recorder = CaseRecorder(SampleReport.subject())
    recorder.add(
      bare: SampleReport.tally(.latency, [10, 20, 30]), vmpool: SampleReport.tally(.latency, [11, 22, 33], lost: 1))
    recorder.add(
      bare: SampleReport.tally(.latency, [40], lost: 2), vmpool: SampleReport.tally(.latency, [52], lost: 3))
    let result = recorder.result
    #expect(result.bare.lost == 2)
    #expect(result.vmpool.lost == 4)
    #expect(result.vmpool.counts["acknowledged"] == 4)
    let bare = try #require(result.bare[.latency])
    #expect((bare.count, bare.p50, bare.max) == (4, 20, 40))
    #expect(bare.roundP50 == [20, 40])
    #expect(bare.roundP99 == [30, 40])
    #expect(abs(try #require(result.ratios["latency_p50"]).median - 1.2) < 1e-9)
    #expect(result.ratios.keys.sorted() == ["latency_p50", "latency_p99"])
  }

  /// A round in which no handler ran, say, must not shift the rounds against each other.
  @Test func aFigureThatOneSideLacksIsNotCompared() {
    var recorder = CaseRecorder(SampleReport.subject())
    recorder.add(bare: SampleReport.tally(.signal, [10]), vmpool: SampleReport.tally(.latency, [10]))
    recorder.add(bare: SampleReport.tally(.latency, [10]), vmpool: SampleReport.tally(.latency, [20]))
    #expect(recorder.result.ratios["latency_p50"]?.median == 2)
    #expect(recorder.result.ratios["signal_p50"] == nil)
  }

  /// Room was kept for what none of a kicker's kicks had.
  @Test func aFigureThatNoKickHadIsLeftOut() throws {
    var tally = SampleReport.tally(.signal, [10])
    tally.clear()
    tally.record(.latency, 10)
    var sum = Tally()
    sum.add(tally)
    #expect(Array(sum.durations.keys) == [.latency])
    var recorder = CaseRecorder(SampleReport.subject())
    recorder.add(bare: sum, vmpool: sum)
    try SampleReport.report([recorder.result]).validate()
  }

  @Test func tellsWhatManyKickersAndABroadcastGain() {
    var vmpool = Tally()
    for (figure, duration) in [(Figure.storm, 10), (.stormOfOne, 50), (.broadcast, 90), (.slowestSingle, 60)] {
      vmpool.record(figure, UInt64(duration))
    }
    var recorder = CaseRecorder(SampleReport.subject())
    recorder.add(bare: Tally(), vmpool: vmpool)
    let ratios = recorder.result.ratios
    #expect(ratios["throughput_to_one_kicker_vmpool"]?.median == 5)
    #expect(ratios["broadcast_to_slowest_single_vmpool"]?.median == 1.5)
    #expect(ratios.count == 2)
  }
}

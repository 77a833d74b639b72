import ComparedKicks
import Foundation
import JSONCodec
import KVM
import TestSupport
import Testing
import VCPURuntime

@testable import Benchmarks

/// Quick runs, for that they complete: how long anything took is nobody's concern here.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct BenchmarkRunTests {
  @Test(arguments: ComparedMechanism.allCases) func kicksAreCompleteAndNoneIsLost(_ mechanism: ComparedMechanism) throws
  {
    let processors = ProcessorPlacement.usable
    defer { #expect(ProcessorPlacement.usable == processors) }
    var progress: [Int] = []
    let benchmark = KickBenchmark(
      rounds: 3, kicksPerRound: 20, roundNS: 60_000_000_000, mechanisms: [mechanism])
    let report = try benchmark.run(version: "1") { progress.append($0.done) }
    #expect(progress == [0, 1, 2, 3])
    let item = try #require(report.cases.first)
    #expect(item.subject.mechanism == mechanism.rawValue)
    for side in [item.bare, item.vmpool] {
      let (latency, call) = (try #require(side[.latency]), try #require(side[.call]))
      if mechanism != .signalOnly {
        #expect(side.lost == 0)
        #expect(latency.count == 60)
        #expect(latency.roundP50.count == 3)
      }
      #expect(latency.p50 > 0)
      #expect(latency.p50 <= call.p50)
      #expect((side[.signal] == nil) == (mechanism == .signalMask))
    }
    let counts = item.vmpool.counts
    #expect(KickPhase.allCases.reduce(0) { $0 + (counts["\($1)"] ?? 0) } == counts["acknowledged"])
    try expectSound(report)
  }

  /// Every guest, with several kickers and vCPUs: all of their kicks are answered.
  @Test(arguments: BenchmarkGuest.allCases) func everyGuestIsKicked(_ guest: BenchmarkGuest) throws {
    let benchmark = KickBenchmark(
      rounds: 1, kicksPerRound: 4, roundNS: 5_000_000, guests: [guest], kickers: [1, 3], vcpus: [1, 2])
    let report = try benchmark.run(version: "1") { _ in }
    #expect(report.cases.map(\.subject.kickers) == [1, 1, 3, 3])
    #expect(report.cases.map(\.subject.vcpus) == [1, 2, 1, 2])
    for item in report.cases {
      for side in [item.bare, item.vmpool] {
        #expect(side.lost == 0)
        #expect((side.counts["acknowledged"] ?? 0) > 0)
        #expect((side[.storm] != nil) == (item.subject.kickers > 1))
        #expect((side[.broadcast] != nil) == (item.subject.kickers == 1 && item.subject.vcpus > 1))
      }
      let counts = item.vmpool.counts
      switch guest {
      // Nothing but a signal gets it out, where the kernel keeps a halted vCPU.
      case .haltIRQChip, .spin, .spinRing0: #expect((counts["parked"] ?? 0) == 0, "\(counts)")
      case .halt: #expect(counts["parked"] == counts["acknowledged"], "\(counts)")
      case .pio, .mmio: #expect((counts["parked"] ?? 0) == 0, "\(counts)")
      }
    }
    try expectSound(report)
  }

  @Test func exitsAreCountedOnBothSides() throws {
    let processors = ProcessorPlacement.usable
    defer { #expect(ProcessorPlacement.usable == processors) }
    let benchmark = ExitBenchmark(rounds: 2, windowNS: 5_000_000, vcpus: [1, 3])
    let report = try benchmark.run(version: "1") { _ in }
    #expect(report.cases.count == 2 * 2 * ComparedMechanism.sound.count)
    for item in report.cases {
      for side in [item.bare, item.vmpool] {
        #expect((side.counts["exits"] ?? 0) > 0)
        #expect(try #require(side[.perExit]).roundP50.count == 2)
        #expect(try #require(side[.cpuPerExit]).p50 > 0)
      }
      let isReference = item.subject.mechanism == ComparedMechanism.immediateExit.rawValue
      #expect((item.ratios["cpu_per_exit_to_immediate_exit_bare"] == nil) == isReference)
      #expect((item.ratios["cpu_per_exit_to_immediate_exit_vmpool"] == nil) == isReference)
    }
    try expectSound(report)
  }

  @Test func creatingIsMeasuredApartFromDestroying() throws {
    let report = try CreateBenchmark(rounds: 2, vmsPerRound: 3).run(version: "1") { _ in }
    for side in report.cases.flatMap({ [$0.bare, $0.vmpool] }) {
      #expect(side[.create]?.count == 6)
      #expect(side[.destroy]?.count == 6)
      #expect(try #require(side[.create]).p50 > 0)
    }
    #expect(report.cases.first?.ratios.keys.sorted() == ["create_p50", "create_p99", "destroy_p50", "destroy_p99"])
    try expectSound(report)
  }

  /// Sizes in which the pages do not fit have no case; a case's resets put back what its guest wrote.
  @Test func everyCaseOfClonesHasFiguresOfBothSides() throws {
    let benchmark = CloneBenchmark(
      rounds: 2, clonesPerRound: 3, resetsPerRound: 2, memoryMiB: [2, 16], dirtyPages: [1, 64, 1000])
    let report = try benchmark.run(version: "1") { _ in }
    #expect(report.cases.map(\.subject.memoryMiB) == [2, 2, 16, 16, 16])
    #expect(report.cases.map(\.subject.dirtyPages) == [1, 64, 1, 64, 1000])
    for item in report.cases {
      for side in [item.bare, item.vmpool] {
        for (figure, count) in [(Figure.clone, 6), (.cloneAll, 2), (.reset, 4), (.destroy, 6)] {
          #expect(side[figure]?.count == count)
          #expect(try #require(side[figure]).p50 > 0)
        }
        #expect(side.counts["clones"] == 6)
        #expect(try #require(side.counts["pages"]) >= 4 * #require(item.subject.dirtyPages))
        #expect(side.counts["private_kib"] != nil)
      }
      #expect(
        item.ratios.keys.sorted() == [
          "clone_all_p50", "clone_p50", "clone_p99", "destroy_p50", "destroy_p99", "reset_p50", "reset_p99",
        ])
    }
    try expectSound(report)
  }

  /// The document as somebody else's parser reads it, once it has been found to be all of a valid report.
  private func expectSound(_ report: BenchmarkReport) throws {
    try report.validate()
    let bytes = try JSON.encodePretty(report)
    #expect(try JSON.decode(BenchmarkReport.self, from: bytes) == report)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    #expect(
      object.keys.sorted() == ["benchmark", "cases", "host", "measured_at", "pinned", "schema", "settings", "version"])
    let host = object["host"] as? [String: Any]
    #expect(host?.keys.sorted() == ["cpu", "cpus", "kernel", "kvm_pvm", "virtual"])
    #expect(object["measured_at"] as? String == report.measuredAt && report.measuredAt.hasSuffix("Z"))
  }
}

/// Neither side may be lucky with the scheduler.
@Suite(.serialized) struct ProcessorPlacementTests {
  @Test func keepsTheCallerAndVCPUsApart() throws {
    let before = ProcessorPlacement.usable
    #expect(!before.isEmpty)
    do {
      let placement = ProcessorPlacement(vcpus: 1)
      #expect(ProcessorPlacement.usable == Array(before.prefix(1)))
      if before.count > 1 {
        let vcpus = try placement.creatingVCPUs { () throws(BenchmarkError) in ProcessorPlacement.usable }
        let kickers = try placement.creatingKickers { () throws(BenchmarkError) in ProcessorPlacement.usable }
        #expect(vcpus == [before[1]])
        #expect(Set(vcpus).isDisjoint(with: kickers) && vcpus.count + kickers.count == before.count)
      }
      #expect(try placement.creatingAnywhere { () throws(BenchmarkError) in ProcessorPlacement.usable } == before)
      #expect(ProcessorPlacement.usable == Array(before.prefix(1)))
    }
    #expect(ProcessorPlacement.usable == before)
  }
}

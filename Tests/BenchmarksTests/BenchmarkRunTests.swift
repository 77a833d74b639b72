import Foundation
import GuestImages
import JSONCodec
import KVM
import Testing
import VCPURuntime

@testable import Benchmarks

/// Whether there is a KVM to measure; says so once if not.
private let hasKVM: Bool = {
  do throws(KVMUnavailable) {
    _ = try KVMSystem()
    return true
  } catch {
    FileHandle.standardError.write(Data("SKIPPED: benchmarks on real VMs: \(error)\n".utf8))
    return false
  }
}()

/// Quick runs, for that they complete: how long anything took is nobody's concern here.
@Suite(.serialized, .enabled(if: hasKVM)) struct BenchmarkRunTests {
  @Test(arguments: KickMechanism.allCases) func kicksAreCompleteAndNoneIsLost(_ mechanism: KickMechanism) throws {
    let processors = ProcessorPlacement.usable
    defer { #expect(ProcessorPlacement.usable == processors) }
    var progress: [Int] = []
    let benchmark = KickBenchmark(rounds: 3, kicksPerRound: 50, mechanism: mechanism)
    let report = try benchmark.run { progress.append($0) }
    #expect(progress == [1, 2, 3])
    #expect(report.rounds.count == 3)
    for figures in report.rounds.flatMap({ [$0.bare, $0.vmpool] }) {
      #expect(figures.lost == 0)
      #expect(figures.latency.count == 50)
      #expect(figures.latency.p50 > 0)
      #expect(figures.latency.p50 <= figures.call.p50)
    }
    #expect(report.vmpool.phases?.values.reduce(0, +) == 150)
    #expect(report.mechanism == mechanism.rawValue)
    let object = try members(of: report)
    let first = try #require((object["rounds"] as? [[String: Any]])?.first)
    for side in ["bare", "vmpool"] {
      for figures in [object[side] as? [String: Any], first[side] as? [String: Any]] {
        for duration in ["latency_ns", "call_ns"] {
          let quantiles = figures?[duration] as? [String: Any]
          #expect(quantiles?.keys.sorted() == ["count", "max", "p50", "p90", "p99", "p999"])
        }
        #expect(figures?["lost"] as? Int == 0)
      }
    }
    let ratios = object["ratios"] as? [String: [String: Double]]
    #expect(ratios?.keys.sorted() == ["call_p50", "call_p99", "latency_p50", "latency_p99"])
    #expect(ratios?["call_p50"]?.keys.sorted() == ["lower_quartile", "max", "median", "min", "upper_quartile"])
  }

  @Test(arguments: KickMechanism.allCases) func exitsAreCountedOnBothSides(_ mechanism: KickMechanism) throws {
    let processors = ProcessorPlacement.usable
    defer { #expect(ProcessorPlacement.usable == processors) }
    let report = try ExitBenchmark(rounds: 2, windowNS: 10_000_000, mechanism: mechanism).run { _ in }
    #expect(report.guests.map(\.guest) == ["pio", "mmio"])
    for guest in report.guests {
      #expect(guest.rounds.count == 2)
      for count in guest.rounds.flatMap({ [$0.bare, $0.vmpool] }) {
        #expect(count.exits > 0)
        #expect(count.ns >= 10_000_000)
        #expect(count.nsPerExit == Double(count.ns) / Double(count.exits))
      }
      #expect(guest.ratio.median > 0)
    }
    let guests = try members(of: report)["guests"] as? [[String: Any]]
    for guest in try #require(guests) {
      #expect(guest.keys.sorted() == ["bare_ns_per_exit", "guest", "ratio", "rounds", "vmpool_ns_per_exit"])
    }
  }

  @Test func creatingIsMeasuredApartFromDestroying() throws {
    let report = try CreateBenchmark(rounds: 2, vmsPerRound: 3).run { _ in }
    #expect(report.rounds.count == 2)
    for figures in report.rounds.flatMap({ [$0.bare, $0.vmpool] }) {
      #expect(figures.create.count == 3)
      #expect(figures.destroy.count == 3)
      #expect(figures.create.p50 > 0)
      #expect(figures.destroy.p50 > 0)
    }
    let ratios = try members(of: report)["ratios"] as? [String: Any]
    #expect(ratios?.keys.sorted() == ["create_p50", "destroy_p50"])
  }

  /// The tests above look that the calling thread gets its processors back.
  @Test func theCallingThreadIsKeptOnOneProcessor() throws {
    let before = ProcessorPlacement.usable
    #expect(!before.isEmpty)
    let report = try KickBenchmark(rounds: 1, kicksPerRound: 1).run { _ in
      #expect(ProcessorPlacement.usable == Array(before.prefix(1)))
    }
    #expect(report.isPinned == (before.count > 1))
  }

  /// The document as somebody else's parser reads it, once it has been found to be all of the report.
  private func members<Report: Codable & Equatable>(of report: Report) throws -> [String: Any] {
    let bytes = try JSON.encodePretty(report)
    #expect(try JSON.decode(Report.self, from: bytes) == report)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    let host = object["host"] as? [String: Any]
    #expect(host?.keys.sorted() == ["cpu", "cpus", "kernel", "kvm_pvm"])
    #expect(["kick", "exits", "create"].contains(object["benchmark"] as? String))
    #expect(KickMechanism(rawValue: object["mechanism"] as? String ?? "") != nil)
    return object
  }
}

/// The yardstick must be the same VM, or nothing is compared.
@Suite(.enabled(if: hasKVM)) struct BareVMTests {
  @Test(arguments: ["spin", "pio", "mmio"]) func hasTheVeryMemoryOfAMachine(guest: String) throws {
    let guest = try #require(BuiltinGuest.named(guest))
    let layout = try GuestImage.builtin(guest).layout(memoryBytes: 2 << 20, vcpus: 1)
    var expected = [UInt8](repeating: 0, count: 2 << 20)
    for segment in layout.segments {
      expected.replaceSubrange(Int(segment.address)..<Int(segment.address) + segment.bytes.count, with: segment.bytes)
    }
    let vm = try BareHost().create(guest, memoryMiB: 2, mechanism: .immediateExit)
    #expect(vm.memory(at: 0, count: 2 << 20) == expected)
  }

  @Test(arguments: KickMechanism.allCases) func standsStillWhileItIsParked(_ mechanism: KickMechanism) throws {
    let guest = try #require(BuiltinGuest.named("pio"))
    let vm = try BareHost().create(guest, memoryMiB: 2, mechanism: mechanism)
    try vm.park()
    #expect(try vm.exits() == 0)
    var seen: UInt64 = 0
    for _ in 0..<20 {
      vm.run()
      while try vm.exits() == seen {}
      #expect(try vm.kick() != nil)
      try vm.park()
      seen = try vm.exits()
      spin(forNS: 1_000_000)
      #expect(try vm.exits() == seen)
    }
  }

  @Test func saysThatItsGuestHasStopped() throws {
    let guest = try #require(BuiltinGuest.named("halt"))
    let vm = try BareHost().create(guest, memoryMiB: 2, mechanism: .immediateExit)
    vm.run()
    // In ring 3, HLT is a fault, and without an interrupt table that is the end.
    #expect(throws: BenchmarkError.self) { while true { _ = try vm.exits() } }
  }
}

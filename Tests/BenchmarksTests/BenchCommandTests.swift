import ArgumentParser
import Foundation
import TestSupport
import Testing

@testable import vmpool_bench

@Suite struct BenchCommandTests {
  @Test(arguments: [
    ["kick"], ["kick", "--mechanism", "immediate_exit,signal_only", "--guest", "spin,halt_irqchip"],
    ["kick", "--kickers", "1,4,16", "--vcpus", "1,8", "--rounds", "3", "--csv"],
    ["kick", "--matrix"],
    ["exits", "--vcpus", "1,64", "--guest", "pio", "--window-ms", "100"],
    ["create", "--plot", "x.svg", "--json"], ["compare", "a.json", "b.json", "--threshold", "2.5"],
    ["clone"], ["clone", "--matrix"],
    ["clone", "--memory", "2,1024", "--pages", "1,64", "--clones", "100", "--resets", "1"],
  ])
  func understands(arguments: [String]) throws {
    _ = try VMPoolBenchCommand.parseAsRoot(arguments)
  }

  @Test(arguments: [
    ["kick", "--mechanism", "nonsense"], ["kick", "--mechanism", "immediate_exit,"],
    ["kick", "--mechanism", "signal_mask,signal_mask"], ["kick", "--guest", ""],
    ["kick", "--kickers", "0"], ["kick", "--kickers", "65"], ["kick", "--vcpus", "9"],
    ["kick", "--json", "--csv"], ["kick", "--rounds", "0"], ["kick", "--round-ms", "0"],
    ["exits", "--guest", "spin"], ["exits", "--vcpus", "65"],
    ["exits", "--window-ms", "-1"],
    ["clone", "--memory", "1"], ["clone", "--memory", "1025"], ["clone", "--pages", "0"],
    ["clone", "--clones", "5001"],
    ["clone", "--resets", "0"],
    ["compare", "a.json"], ["compare", "a", "b", "--threshold", "-1"],
    ["compare", "a", "b", "--threshold", "nan"],
  ])
  func refuses(arguments: [String]) {
    #expect {
      try VMPoolBenchCommand.parseAsRoot(arguments)
    } throws: {
      VMPoolBenchCommand.exitCode(for: $0).rawValue == 64
    }
  }

  /// Refused before any time is spent on it.
  @Test(arguments: [
    ["kick", "--matrix", "--plot", "x.svg"], ["clone", "--memory", "2", "--pages", "1000"],
    ["kick", "--matrix", "--json", "--rounds", "100"],
  ])
  func refusesWhatWouldBeTooLarge(arguments: [String]) throws {
    var command = try VMPoolBenchCommand.parseAsRoot(arguments)
    #expect {
      try command.run()
    } throws: {
      VMPoolBenchCommand.exitCode(for: $0).rawValue == 64
    }
  }

  private static func report(_ duration: Int) -> String {
    let rounds = "[\(duration),\(duration),\(duration),\(duration),\(duration)]"
    let side = """
      {"durations":{"latency":{"count":5,"p50_ns":\(duration),"p90_ns":\(duration),"p99_ns":\(duration),
      "p999_ns":\(duration),"max":\(duration),"round_p50_ns":\(rounds),"round_p99_ns":\(rounds),
      "histogram":"\(duration):5"}},"counts":{"lost":0}}
      """
    return """
      {"schema":"vmpool-bench/1","benchmark":"kick","version":"1","measured_at":"2026-01-01T00:00:00Z",
      "host":{"cpu":"x","cpus":1,"kernel":"6","virtual":false,"kvm_pvm":false},"pinned":true,"settings":{},
      "cases":[{"subject":{"mechanism":"immediate_exit","guest":"spin","kickers":1,"vcpus":1},
      "bare":\(side),"vmpool":\(side),"ratios":{}}]}
      """
  }

  @Test(
    arguments: [
      (report(1000), report(1000), 0), (report(1000), report(1040), 0), (report(1000), report(1060), 1),
      (report(1000), report(500), 0), (report(1000), "{}", 65), ("[", report(1000), 65), ("", report(1), 65),
      (report(1000).replacing("\"lost\":0", with: "\"lost\":0,\"lost\":1"), report(1000), 65),
      (report(1000).replacing("\"pinned\":true", with: "\"pinned\":true,\"more\":1"), report(1000), 65),
      (report(1000), report(1000).replacing("bench/1", with: "bench/9"), 65),
      (report(1000), report(1000).replacing(":5\"", with: ":6\""), 65),
      (report(1000), report(1000).replacing("\"guest\":\"spin\"", with: "\"guest\":\"pio\""), 65),
      (report(1000), report(-5), 65), (report(1000), nil, 66),
    ] as [(String, String?, Int32)])
  func comparesFilesAndSaysSoByItsStatus(before: String, after: String?, status: Int32) throws {
    let scratch = try ScratchDirectory()
    let paths = ["a.json", "b.json"].map { scratch.path(of: $0) }
    for (name, text) in [("a.json", before), ("b.json", after)] {
      if let text { try scratch.write(Data(text.utf8), to: name) }
    }
    for format in [[], ["--all"], ["--json"]] {
      var command = try VMPoolBenchCommand.parseAsRoot(["compare"] + paths + format)
      var found: Int32 = 0
      do { try command.run() } catch { found = VMPoolBenchCommand.exitCode(for: error).rawValue }
      #expect(found == status)
    }
  }
}

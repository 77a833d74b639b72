import Benchmarks
import CommandLineSupport

/// What `bench kick` prints for people.
func kickText(_ report: BenchmarkReport) -> String {
  let blocks = report.cases.map { item in
    var table = Table([
      .init(item.subject.label(in: report.benchmark)), .init("P50", alignment: .right), .init("P90", alignment: .right),
      .init("P99", alignment: .right), .init("P99.9", alignment: .right), .init("MAX", alignment: .right),
    ])
    for (figure, name) in [
      (Figure.latency, "KVM_RUN left"), (.signal, "… to the handler"), (.exit, "… and out from it"),
    ] {
      addSides(figure, name, item, &table)
    }
    for (figure, name) in [
      (Figure.call, "acknowledged"), (.broadcast, "all vCPUs at once"), (.slowestSingle, "the slowest one by one"),
    ] {
      addSides(figure, name, item, &table)
    }
    return table.text + "\n" + properties(kickProperties(item))
  }
  let settings = report.settings
  return
    (blocks + [
      properties(
        [
          (
            "rounds",
            "\(settings["rounds"] ?? 0), each with both sides by turns: "
              + "at most \(settings["kicks_per_round"] ?? 0) kicks of one kicker, each after "
              + "\((settings["pause_ns"] ?? 0) / 1000) µs, or \((settings["round_ns"] ?? 0) / 1_000_000) ms"
          ), ("ratios", "medians over rounds, and quartiles"), ("processors", placement(report.isPinned)),
        ] + hostProperties(report.host))
    ]).joined(separator: "\n\n")
}

private func kickProperties(_ item: BenchmarkCase) -> [(name: String, value: String)] {
  let counts = item.vmpool.counts
  func count(_ name: String) -> Int { counts[name] ?? 0 }
  let phases = ["guest", "entry", "host", "parked"].filter { count($0) > 0 }.map { "\($0) \(count($0))" }
  var lines: [(name: String, value: String)] = [
    ("  landed in", phases.joined(separator: ", ")),
    (
      "  of vmpool's",
      "\(count("acknowledged")) acknowledged, \(count("lost")) lost, \(count("coalesced")) coalesced, "
        + "\(count("resent")) signals sent again"
    ), ("  of bare C's", "\(item.bare.counts["acknowledged"] ?? 0) acknowledged, \(item.bare.lost) lost"),
  ]
  for (side, name) in [(item.vmpool, "vmpool"), (item.bare, "bare")] {
    guard let all = side[.storm], let one = side[.stormOfOne],
      let gain = item.ratios["throughput_to_one_kicker_\(name)"]
    else { continue }
    let rates = [all.p50, one.p50].map { "\(1_000_000_000 / max($0, 1))" }
    lines.append(("  \(name)'s kicks/s", "\(rates[0]), of one kicker \(rates[1]): × \(cell(gain))"))
  }
  for name in ["vmpool", "bare"] {
    guard let spread = item.ratios["broadcast_to_slowest_single_\(name)"] else { continue }
    lines.append(("  \(name)'s broadcast", "× \(cell(spread)) of the slowest one by one"))
  }
  return lines
}

/// What `bench exits` prints for people.
func exitsText(_ report: BenchmarkReport) -> String {
  var table = Table([
    .init("GUEST"), .init("VCPUS", alignment: .right), .init("MECHANISM"), .init("BARE C", alignment: .right),
    .init("VMPOOL", alignment: .right),
    .init("RATIO", alignment: .right), .init("CPU, BARE C", alignment: .right), .init("CPU, VMPOOL", alignment: .right),
    .init("TO IMMEDIATE_EXIT", alignment: .right),
  ])
  for item in report.cases {
    func duration(_ side: BenchmarkCase.Side, _ figure: Figure) -> String {
      side[figure].map { "\($0.p50) ns" } ?? ""
    }
    table.add([
      item.subject.guest, "\(item.subject.vcpus)", item.subject.mechanism, duration(item.bare, .perExit),
      duration(item.vmpool, .perExit), item.ratios["per_exit_p50"].map(cell) ?? "", duration(item.bare, .cpuPerExit),
      duration(item.vmpool, .cpuPerExit), item.ratios["cpu_per_exit_to_immediate_exit_bare"].map(cell) ?? "",
    ])
  }
  return table.text + "\n\n"
    + properties(
      [
        (
          "rounds",
          "\(report.settings["rounds"] ?? 0) of \((report.settings["window_ns"] ?? 0) / 1_000_000) ms a case and side; "
            + "medians over rounds"
        ), ("bare c, vmpool", "from one exit to the next, all vCPUs together"),
        ("cpu", "the process's processor time an exit; its ratio to immediate_exit is bare C's"),
        ("processors", placement(report.isPinned) + " (several vCPUs: left to the scheduler)"),
      ] + hostProperties(report.host))
}

/// What `bench create` prints for people.
func createText(_ report: BenchmarkReport) -> String {
  let blocks = report.cases.map { item in
    var table = Table([
      .init("VM"), .init("P50", alignment: .right), .init("P90", alignment: .right), .init("P99", alignment: .right),
      .init("P99.9", alignment: .right),
      .init("MAX", alignment: .right),
    ])
    addSides(.create, "create", item, &table)
    addSides(.destroy, "destroy", item, &table)
    return table.text + "\n" + properties([("  mechanism", item.subject.mechanism)])
  }
  return
    (blocks + [
      properties(
        [
          (
            "rounds",
            "\(report.settings["rounds"] ?? 0) of \(report.settings["vms_per_round"] ?? 0) VMs a side, by turns; each of "
              + "1 vCPU and \(report.settings["memory_mib"] ?? 0) MiB"
          )
        ] + hostProperties(report.host))
    ]).joined(separator: "\n\n")
}

/// What `bench clone` prints for people.
func cloneText(_ report: BenchmarkReport) -> String {
  let blocks = report.cases.map { item in
    var table = Table([
      .init(item.subject.label(in: report.benchmark)), .init("P50", alignment: .right), .init("P90", alignment: .right),
      .init("P99", alignment: .right), .init("P99.9", alignment: .right), .init("MAX", alignment: .right),
    ])
    for (figure, name) in [
      (Figure.clone, "clone"), (.cloneAll, "all clones"), (.reset, "reset"), (.destroy, "destroy"),
    ] {
      addSides(figure, name, item, &table)
    }
    func perClone(_ side: BenchmarkCase.Side) -> String {
      fixed(Double(side.counts["private_kib"] ?? 0) / Double(max(side.counts["clones"] ?? 1, 1)), 1)
    }
    let memory = "\(perClone(item.vmpool)) KiB a clone, of bare C's \(perClone(item.bare)) KiB"
    return table.text + "\n" + properties([("  private memory", memory)])
  }
  let settings = report.settings
  return
    (blocks + [
      properties(
        [
          (
            "rounds",
            "\(settings["rounds"] ?? 0) of \(settings["clones_per_round"] ?? 0) clones a side, by turns, and of "
              + "\(settings["resets_per_round"] ?? 0) resets of one of them"
          ), ("ratios", "medians over rounds, and quartiles"),
        ] + hostProperties(report.host))
    ]).joined(separator: "\n\n")
}

private func addSides(_ figure: Figure, _ name: String, _ item: BenchmarkCase, _ table: inout Table) {
  for (side, sideName) in [(item.bare, "bare C"), (item.vmpool, "vmpool")] {
    guard let found = side[figure] else { continue }
    table.add(
      ["\(name), \(sideName)"] + [found.p50, found.p90, found.p99, found.p999, found.max].map(humanised(nanoseconds:)))
  }
  guard let middle = item.ratios["\(figure.rawValue)_p50"] else { return }
  table.add(["ratio", cell(middle), "", item.ratios["\(figure.rawValue)_p99"].map(cell) ?? "", "", ""])
}

/// A ratio's median, and its quartiles.
func cell(_ ratio: Spread) -> String {
  "\(fixed(ratio.median, 3)) (\(fixed(ratio.lowerQuartile, 2))–\(fixed(ratio.upperQuartile, 2)))"
}

/// A number with so many decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
  let scale = (0..<decimals).reduce(1) { scale, _ in scale * 10 }
  // Reports that are compared may hold any number.
  let scaled = Int(min(max(value * Double(scale), -1e15), 1e15).rounded())
  let sign = scaled < 0 ? "-" : ""
  if decimals == 0 { return "\(scaled)" }
  let fraction = String(abs(scaled) % scale)
  return "\(sign)\(abs(scaled) / scale)." + String(repeating: "0", count: decimals - fraction.count) + fraction
}

private func placement(_ isPinned: Bool) -> String {
  isPinned ? "the caller kept on one, vCPUs on others" : "left to the scheduler"
}

private func hostProperties(_ host: HostDescription) -> [(name: String, value: String)] {
  [
    (
      "host",
      "\(host.cpu), \(host.cpus) processors, Linux \(host.kernel)"
        + (host.isVirtual ? ", itself a virtual machine" : "")
    ), ("ring 0", host.isKVMPVM ? "emulated in software (kvm_pvm)" : "native"),
  ]
}

import APIModel
import Foundation
import GuestImages
import MachineRuntime
import Metrics
import TestSupport
import Testing

@testable import HTTPServer
@testable import ManagementAPI
@testable import PoolManager

@Suite struct MetricsTests {
  @Test(.enabled(if: RealKVM.isAvailable)) func countersSurviveTheirVM() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"pio"}"#).id
    try harness.wait(forExits: "io", of: id)
    for _ in 0..<4 { #expect(harness.send("POST", "/v1/vms/\(id)/kick").status == 200) }
    harness.send("POST", "/v1/vms/\(id)/pause")
    let before = harness.metrics()
    #expect((before[#"vmpool_vcpu_exits_total{pool="_none",reason="io"}"#] ?? 0) > 0)
    harness.send("DELETE", "/v1/vms/\(id)")
    let after = harness.metrics()
    for (series, value) in before where series.contains("_total{") || series.contains("_count{") {
      #expect((after[series] ?? -1) >= value, "\(series) went backwards")
    }
    #expect(after[#"vmpool_vms{pool="_none",state="paused"}"#] == 0)
    #expect(before[#"vmpool_vms{pool="_none",state="paused"}"#] == 1)
  }

  /// A guest that spins uses its processor. What its pool counts does not go backwards when the VM is deleted.
  @Test(.enabled(if: RealKVM.isAvailable)) func processorTimeSurvivesItsVM() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin"}"#).id
    func pool(_ family: String) -> Double { harness.metrics()["\(family){pool=\"_none\"}"] ?? -1 }
    let labels = "pool=\"_none\",vm=\"\(id)\",vcpu=\"0\""
    #expect(harness.metrics("/metrics/vcpus")["vmpool_vcpu_run_delay_by_vcpu_seconds_total{\(labels)}"] != nil)
    try waitUntil("it has used 20 ms") { pool("vmpool_vcpu_cpu_seconds_total") >= 0.02 }
    let single = harness.metrics("/metrics/vcpus")["vmpool_vcpu_cpu_by_vcpu_seconds_total{\(labels)}"] ?? 0
    #expect(single >= 0.02)
    let document = try harness.send("GET", "/v1/vms/\(id)/vcpus/0").document(VCPUDocument.self)
    #expect(Double(document.cpuNS ?? 0) / 1e9 >= single && document.runDelayNS != nil)
    let delay = pool("vmpool_vcpu_run_delay_seconds_total")
    harness.send("DELETE", "/v1/vms/\(id)")
    #expect(pool("vmpool_vcpu_cpu_seconds_total") >= single)
    #expect(pool("vmpool_vcpu_run_delay_seconds_total") >= delay)
  }

  /// A client that waited for a kick counts it, however late.
  @Test(.enabled(if: RealKVM.isAvailable)) func aKickIsCountedWhileItsVMEndsAndAfterwards() throws {
    let spin = try #require(BuiltinGuest.named("spin"))
    let machine = try KVMMachineFactory(system: RealKVM.system.get()).make(
      MachineConfiguration(image: .builtin(spin), vcpus: 1, memoryMiB: 1, mechanism: .immediateExit)
    ) { _ in }
    let measurements = PoolMeasurements()
    let id = "vm-0000000000014a60"
    let vm = VM(
      id: id, owner: .standard, pool: nil, machine: machine, measurements: measurements, occupant: Occupant(id))
    try machine.start(untilNS: .max)
    let kicks = try machine.requestKicks(vcpu: nil)
    let outcomes = try kicks.wait(untilNS: .max)
    vm.record(outcomes, of: kicks)
    vm.destroy()
    vm.record(outcomes, of: kicks)
    vm.addCountsToPool()
    vm.record(outcomes, of: kicks)
    #expect(measurements.retiredCounts.kicks.values.reduce(0, +) == 3)
  }

  @Test(.enabled(if: RealKVM.isAvailable)) func oursAndTheKernelsCountsAgree() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin"}"#).id
    for _ in 0..<20 { harness.send("POST", "/v1/vms/\(id)/kick") }
    harness.send("POST", "/v1/vms/\(id)/pause")
    let series = harness.metrics()
    let kernel = series[#"vmpool_kvm_signal_exits_total{pool="_none"}"#] ?? 0
    // `intr` leaves out what returned at entry, which the kernel does not count either.
    #expect(kernel == series[#"vmpool_vcpu_exits_total{pool="_none",reason="intr"}"#] ?? 0)
    #expect(kernel > 0)
  }

  @Test(.enabled(if: RealKVM.isAvailable)) func everyStateIsAlwaysThere() throws {
    let harness = try Harness()
    harness.send("PUT", "/v1/pools/a", #"{"image":"spin","ready":2}"#)
    _ = try harness.wait(forReady: 2, in: "a")
    let series = harness.metrics()
    for (state, count) in [("creating", 0), ("ready", 2), ("running", 0), ("paused", 0), ("stopped", 0)] {
      #expect(series["vmpool_vms{pool=\"a\",state=\"\(state)\"}"] == Double(count), "\(state)")
      #expect(series["vmpool_vms{pool=\"_none\",state=\"\(state)\"}"] == 0)
    }
    #expect(series[#"vmpool_pool_target{pool="a"}"#] == 2)
    #expect(series[#"vmpool_pool_target{pool="_none"}"#] == nil)
    #expect(series[#"vmpool_vm_create_seconds_count{pool="a"}"#] == 2)
    harness.send("DELETE", "/v1/pools/a")
    #expect(harness.metrics().keys.allSatisfy { !$0.contains(#"pool="a""#) })
  }

  @Test(.enabled(if: RealKVM.isAvailable)) func vcpusThatRan() throws {
    let harness = try Harness()
    let ready = try harness.create(#"{"image":"spin","start":false}"#).id
    let running = try harness.create(#"{"image":"pio","vcpus":2}"#).id
    try harness.wait(forExits: "io", of: running)
    harness.send("POST", "/v1/vms/\(running)/kick")
    let series = harness.metrics("/metrics/vcpus")
    #expect(series.keys.allSatisfy { !$0.contains(ready) })
    for vcpu in 0..<2 {
      let labels = "pool=\"_none\",vm=\"\(running)\",vcpu=\"\(vcpu)\""
      #expect((series["vmpool_vcpu_exits_by_vcpu_total{\(labels),reason=\"io\"}"] ?? 0) > 0)
      let kicks = series.filter { $0.key.hasPrefix("vmpool_kicks_by_vcpu_total{\(labels)") }
      #expect(kicks.count == 4 && kicks.values.reduce(0, +) == 1)
      #expect(series["vmpool_kvm_signal_exits_by_vcpu_total{\(labels)}"] != nil)
    }
    // One family, one meaning: none of these stands under /metrics as well.
    let names = Set(harness.metrics().keys.map { $0.prefix { $0 != "{" } })
    #expect(series.keys.allSatisfy { !names.contains($0.prefix { $0 != "{" }) })
    harness.send("POST", "/v1/vms/\(running)/stop")
    #expect(harness.metrics("/metrics/vcpus").isEmpty)
  }

  @Test func requestsAreCountedByClosedSets() {
    let harness = Harness(factory: StubFactory())
    func complete(_ method: String, _ path: String, _ status: Int) {
      harness.api.completed(
        HTTPAccessRecord(
          method: method, rawPath: path, status: status, requestID: "r", peer: "unix", durationNS: 1000,
          bytesSent: 0, aborted: status == 0, label: nil))
    }
    complete("GET", "/v1/vms/vm-0123456789ab4a60", 200)
    complete("GET", "/v1/vms/vm-ba98765432104a60", 200)
    complete("HEAD", "/v1/vms/vm-ba98765432104a60", 200)
    complete("BREW", "/coffee", 404)
    complete("", "", 400)
    complete("GET", "/livez", 0)
    let series = harness.metrics()
    func count(_ labels: String) -> Double? { series["vmpool_http_request_duration_seconds_count{\(labels)}"] }
    #expect(count(#"method="GET",route="/v1/vms/{vm}",code="200""#) == 2)
    #expect(count(#"method="HEAD",route="/v1/vms/{vm}",code="200""#) == 1)
    #expect(count(#"method="other",route="other",code="404""#) == 1)
    #expect(count(#"method="other",route="other",code="400""#) == 1)
    #expect(count(#"method="GET",route="/livez",code="0""#) == 1)
    #expect(series["vmpool_build_info{version=\"\(Release.version)\",swift=\"\(Release.compiler)\"}"] == 1)
    #expect(series["process_open_fds"] != nil)
  }

  @Test func formatsAreNegotiated() {
    let harness = Harness(factory: StubFactory())
    let accept = [("Host", "localhost"), ("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")]
    for path in ["/metrics", "/metrics/vcpus"] {
      let open = harness.send("GET", path, headers: accept)
      #expect(open["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8")
      #expect(open.text.hasSuffix("# EOF\n"))
      #expect(harness.send("GET", path)["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
    }
  }

  @Test(.enabled(if: RealKVM.isAvailable), arguments: ["/metrics", "/metrics/vcpus"])
  func promtoolHasNothingToSay(path: String) throws {
    let promtool = "/usr/bin/promtool"
    guard FileManager.default.isExecutableFile(atPath: promtool) else {
      FileHandle.standardError.write(Data("SKIPPED: promtool is not installed (Debian package prometheus)\n".utf8))
      return
    }
    let harness = try Harness()
    let id = try harness.create(#"{"image":"pio"}"#).id
    harness.send("POST", "/v1/vms/\(id)/kick")
    let text = harness.send("GET", path).body
    let process = Process()
    process.executableURL = URL(filePath: promtool)
    process.arguments = ["check", "metrics"]
    let (input, output) = (Pipe(), Pipe())
    (process.standardInput, process.standardOutput, process.standardError) = (input, output, output)
    try process.run()
    // Small enough for a pipe's buffer at any rate; promtool reads it all before it speaks.
    try input.fileHandleForWriting.write(contentsOf: Data(text))
    try input.fileHandleForWriting.close()
    let said = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0 && said.isEmpty, "\(said)")
  }
}

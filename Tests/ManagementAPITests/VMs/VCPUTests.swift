import APIModel
import HTTPServer
import MachineRuntime
import PoolManager
import TestSupport
import Testing

@testable import ManagementAPI

@Suite(.enabled(if: RealKVM.isAvailable)) struct VCPUTests {
  @Test func aKickOfARunningVCPUIsAcknowledgedAndCountedOnce() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin"}"#).id
    for round in 1...3 {
      let kick = try harness.send("POST", "/v1/vms/\(id)/vcpus/0/kick").document(KickDocument.self)
      #expect(kick.vm == id && kick.vcpu == 0 && kick.mechanism == "immediate_exit")
      #expect(["guest", "entry", "host"].contains(kick.phase))
      #expect(kick.generation > UInt64(round) && kick.latencyNS > 0)
    }
    let vcpu = try harness.send("GET", "/v1/vms/\(id)/vcpus/0").document(VCPUDocument.self)
    #expect(vcpu.kicks.values.reduce(0, +) == 3)
    #expect(vcpu.state == "running" && vcpu.vm == id && vcpu.index == 0)
    let series = harness.metrics()
    #expect(["guest", "entry", "host", "parked"].reduce(0) { $0 + (series[ok($1)] ?? 0) } == 3)
    #expect(series[#"vmpool_kick_latency_seconds_count{pool="_none"}"#] == 3)
  }

  private func ok(_ phase: String) -> String {
    "vmpool_kicks_total{pool=\"_none\",phase=\"\(phase)\",result=\"ok\"}"
  }

  @Test func aKickOfAReadyVCPULandsParked() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin","start":false}"#).id
    let kicks = try (0..<20).map { _ in
      try harness.send("POST", "/v1/vms/\(id)/vcpus/0/kick", #"{"timeout_ms":null}"#).document(KickDocument.self)
    }
    #expect(kicks.allSatisfy { $0.phase == "parked" })
    // On a busy host one that has not been answered for ten milliseconds is signalled all the same: not all of twenty.
    #expect(kicks.contains { $0.signalsSent == 0 && $0.signalLatencyNS == nil })
    #expect(harness.metrics()[#"vmpool_kick_latency_seconds_count{pool="_none"}"#] == 0)
  }

  @Test func allVCPUsAtOnce() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin","vcpus":3}"#).id
    let all = try harness.send("POST", "/v1/vms/\(id)/kick", #"{"timeout_ms":60000}"#).document(KickAllDocument.self)
    #expect(all.vm == id && all.kicks.map(\.vcpu) == [0, 1, 2])
    let page = try harness.send("GET", "/v1/vms/\(id)/vcpus").document(Page<VCPUDocument>.self)
    #expect(page.items.map(\.index) == [0, 1, 2] && page.nextPageToken == nil)
    #expect(page.items.allSatisfy { $0.kicks.values.reduce(0, +) == 1 })
  }

  @Test func vcpusThatAreNotThere() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin"}"#).id
    harness.send("POST", "/v1/vms/\(id)/pause")
    for (method, path) in [("GET", ""), ("POST", "/kick"), ("GET", "/registers")] {
      let reply = harness.send(method, "/v1/vms/\(id)/vcpus/1\(path)")
      #expect(reply.status == 404 && reply.problem?.kind == "vcpu-not-found", "\(path)")
    }
  }

  @Test func aStoppedVMIsNotKicked() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin"}"#).id
    harness.send("POST", "/v1/vms/\(id)/stop")
    for path in ["kick", "vcpus/0/kick"] {
      let reply = harness.send("POST", "/v1/vms/\(id)/\(path)")
      #expect(reply.status == 409)
      #expect(try reply.document(Problem.self).state == "stopped")
    }
  }

  @Test(arguments: ["kick", "vcpus/0/kick"], [1, 5])
  func aKickThatIsNeverAcknowledged(path: String, timeoutMS: Int) throws {
    // A millisecond is waited out inline, five are not.
    let harness = Harness(factory: DeafFactory(real: KVMMachineFactory(system: try RealKVM.system.get())))
    let id = try harness.create(#"{"image":"spin"}"#).id
    let reply = harness.send("POST", "/v1/vms/\(id)/\(path)", "{\"timeout_ms\":\(timeoutMS)}")
    #expect(reply.status == 504 && reply.problem?.kind == "kick-timeout")
    let series = harness.metrics()
    #expect(series[#"vmpool_kicks_total{pool="_none",phase="none",result="timeout"}"#] == 1)
    #expect(series[ok("guest")] == 0)
  }

  /// A kick is published before it is known whether its answer may be waited for: it goes on.
  @Test(arguments: ["kick", "vcpus/0/kick"])
  func aKickGoesOnWhereAsManyRequestsWaitAsMay(path: String) throws {
    let factory = DeafFactory(real: KVMMachineFactory(system: try RealKVM.system.get()))
    let harness = Harness(factory: factory, load: HTTPLoad(waitingLimit: 0))
    let id = try harness.create(#"{"image":"spin"}"#).id
    var (kicks, exits): (UInt64, UInt64) = (0, 0)
    // Nothing else makes this guest leave KVM_RUN. A kick that comes before the guest is entered makes no exit.
    try waitUntil("a kick has made the guest leave KVM_RUN") {
      let reply = harness.send("POST", "/v1/vms/\(id)/\(path)", #"{"timeout_ms":60000}"#)
      kicks += 1
      #expect(reply.status == 429 && reply.problem?.kind == "too-many-waiting" && reply["Retry-After"] == "1")
      #expect(reply.problem?.detail.contains("What was asked of \(id) goes on, but cannot be waited for.") == true)
      exits = try harness.send("GET", "/v1/vms/\(id)/vcpus/0").document(VCPUDocument.self).exits.values.reduce(0, +)
      return exits > 0
    }
    #expect(exits <= kicks)
  }

  @Test func registersOfAPausedAndOfAStoppedVM() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin"}"#).id
    let path = "/v1/vms/\(id)/vcpus/0/registers"
    #expect(harness.send("GET", path).status == 409)
    harness.send("POST", "/v1/vms/\(id)/pause")
    let registers = try harness.send("GET", path).document(RegistersDocument.self)
    #expect(registers.vm == id && registers.vcpu == 0)
    #expect(registers.general.count == 18 && registers.control.count == 7)
    #expect(registers.segments.count == 8 && Set(registers.tables.keys) == ["gdt", "idt"])
    #expect(registers.segments["cs"]?.dpl == 3 && registers.segments["cs"]?.long == true)
    let values = Array(registers.general.values) + Array(registers.control.values)
    #expect(values.allSatisfy { $0.wholeMatch(of: /0x[0-9a-f]{1,16}/) != nil })
    #expect(try harness.send("GET", path).document(RegistersDocument.self) == registers)
    harness.send("POST", "/v1/vms/\(id)/stop")
    #expect(try harness.send("GET", path).document(RegistersDocument.self) == registers)
  }
}

import APIModel
import Control
import Devices
import MachineRuntime
import PoolManager
import Synchronization
import Testing
import VCPURuntime

@testable import ManagementAPI

@Suite(.enabled(if: RealKVM.isAvailable)) struct VMTests {
  @Test func createdListedReadAndDeleted() throws {
    let harness = try Harness()
    let reply = harness.send("POST", "/v1/vms", #"{"image":"spin","vcpus":2,"memory_mib":3}"#)
    let vm = try reply.document(VMDocument.self)
    #expect(reply["Location"] == "/v1/vms/\(vm.id)")
    #expect(IDForm.isVMId(vm.id))
    #expect(vm.pool == nil && vm.image == "spin" && vm.state == "running" && vm.vcpus == 2 && vm.memoryMiB == 3)
    #expect(vm.consoleBytes == 0 && vm.stop == nil)
    #expect(vm.createdAt.wholeMatch(of: /20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d\.\d{3}Z/) != nil)
    var found = try harness.send("GET", "/v1/vms/\(vm.id)").document(VMDocument.self)
    // What its guest has touched, of 3 MiB.
    let resident = try #require(found.memoryResidentBytes)
    #expect(resident > 0 && resident < 3 << 20 && resident % 4096 == 0)
    found.memoryResidentBytes = nil
    #expect(found == vm)
    #expect(try harness.send("GET", "/v1/vms").document(Page<VMDocument>.self).items == [vm])
    let deleted = harness.send("DELETE", "/v1/vms/\(vm.id)")
    #expect(deleted.status == 204 && deleted.body.isEmpty)
    #expect(harness.send("GET", "/v1/vms/\(vm.id)").status == 404)
    #expect(harness.send("DELETE", "/v1/vms/\(vm.id)").status == 404)
  }

  @Test func nullsAreAsGoodAsNothing() throws {
    let harness = try Harness()
    let body = #"{"image":"spin","flat":null,"vcpus":null,"memory_mib":null,"start":null,"deadline_ms":null}"#
    let vm = try harness.create(body)
    #expect(vm.vcpus == 1 && vm.memoryMiB == 2 && vm.state == "running")
  }

  @Test func theLifecycle() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin","start":false}"#).id
    func post(_ verb: String) throws -> String? {
      let reply = harness.send("POST", "/v1/vms/\(id)/\(verb)")
      if reply.status == 200 { return try reply.document(VMDocument.self).state }
      #expect(reply.status == 409 && reply.problem?.kind == "wrong-state")
      return "409 " + (try reply.document(Problem.self).state ?? "")
    }
    #expect(try post("pause") == "409 ready")
    #expect(try post("resume") == "409 ready")
    for _ in 0..<2 { #expect(try post("start") == "running") }
    #expect(try post("resume") == "running")
    for _ in 0..<2 { #expect(try post("pause") == "paused") }
    #expect(try post("start") == "409 paused")
    #expect(try post("resume") == "running")
    for _ in 0..<2 { #expect(try post("stop") == "stopped") }
    for verb in ["start", "pause", "resume"] { #expect(try post(verb) == "409 stopped") }
    let stop = try harness.send("GET", "/v1/vms/\(id)").document(VMDocument.self).stop
    #expect(stop == StopDocument(reason: "killed", exitCode: nil, detail: nil))
  }

  @Test func emptyObjectsAreBodiesToo() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"spin"}"#).id
    for verb in ["pause", "resume", "stop"] {
      #expect(harness.send("POST", "/v1/vms/\(id)/\(verb)", "{}").status == 200)
    }
  }

  @Test func inlineCodeRuns() throws {
    let harness = try Harness()
    // mov $42,%al; out %al,$0xf4; hlt
    let body = """
      {"flat":{"mode":"real16","load_address":"0x20000","entry":"0x20000","code":"sCrm9PQ="},"memory_mib":1}
      """
    let vm = try harness.wait(for: "stopped", of: try harness.create(body).id)
    #expect(vm.image == "flat")
    #expect(vm.stop == StopDocument(reason: "exited", exitCode: 42, detail: nil))
  }

  @Test(arguments: [
    (#""mode":"long64","load_address":"0x1000","code":"9A==""#, "/flat/load_address"),
    (#""mode":"real16","load_address":"0x10001","code":"9A==""#, "/flat/load_address"),
    (#""mode":"prot32","load_address":"0xfffff000","code":"9A==""#, "/flat/load_address"),
    (#""mode":"prot32","entry":"0x0","code":"9A==""#, "/flat/entry"),
  ])
  func imagesThatDoNotFit(members: String, pointer: String) throws {
    let reply = try Harness().send("POST", "/v1/vms", "{\"flat\":{\(members)}}")
    #expect(reply.status == 400 && reply.problem?.kind == "invalid-member")
    #expect(reply.problem?.pointer == pointer, "\(reply.text)")
  }

  @Test func anImageThatWantsOneVCPU() throws {
    let reply = try Harness().send("POST", "/v1/vms", #"{"image":"hello","vcpus":2}"#)
    #expect(reply.status == 400 && reply.problem?.pointer == "/vcpus")
  }

  @Test func everyWayToStop() throws {
    let harness = try Harness()
    let hello = try harness.wait(for: "stopped", of: try harness.create(#"{"image":"hello"}"#).id)
    #expect(hello.stop == StopDocument(reason: "exited", exitCode: 0, detail: nil))
    #expect(hello.consoleBytes > 0)
    let late = try harness.wait(for: "stopped", of: try harness.create(#"{"image":"spin","deadline_ms":1}"#).id)
    #expect(late.stop?.reason == "deadline")
    // ud2, without an interrupt table: a triple fault.
    let crash = #"{"flat":{"mode":"long64_ring3","code":"Dws="}}"#
    let crashed = try harness.wait(for: "stopped", of: try harness.create(crash).id)
    #expect(crashed.stop?.reason == "crashed" && crashed.stop?.detail?.isEmpty == false)
    harness.send("DELETE", "/v1/vms/\(try harness.create(#"{"image":"spin"}"#).id)")
    let series = harness.metrics()
    for (reason, count) in [("exited", 1.0), ("deadline", 1), ("crashed", 1), ("killed", 1), ("halted", 0)] {
      #expect(series["vmpool_vm_stops_total{pool=\"_none\",reason=\"\(reason)\"}"] == count, "\(reason)")
    }
  }

  @Test func pagesAndFilters() throws {
    let harness = try Harness()
    let ready = try (0..<3).map { _ in try harness.create(#"{"image":"spin","start":false}"#).id }
    let running = try harness.create(#"{"image":"spin"}"#).id
    #expect(harness.send("PUT", "/v1/pools/a", #"{"image":"spin","ready":1}"#).status == 201)
    #expect(try harness.wait(forReady: 1, in: "a").status.ready == 1)
    func list(_ query: String) throws -> Page<VMDocument> {
      try harness.send("GET", "/v1/vms?" + query).document(Page<VMDocument>.self)
    }
    #expect(try list("state=running").items.map(\.id) == [running])
    #expect(try list("pool=a&state=ready").items.map(\.pool) == ["a"])
    #expect(try list("pool=nothing").items.isEmpty)
    var seen: [String] = []
    var token = ""
    repeat {
      let page = try list("limit=2\(token)")
      #expect(page.items.count <= 2)
      seen += page.items.map(\.id)
      token = page.nextPageToken.map { "&page_token=\($0)" } ?? ""
    } while !token.isEmpty
    #expect(Array(seen.prefix(4)) == ready + [running] && seen.count == 5)
    // Neither a last page that is full nor a deleted VM upsets the order.
    #expect(try list("limit=5").nextPageToken == nil)
    let first = try list("limit=1")
    harness.send("DELETE", "/v1/vms/\(ready[0])")
    #expect(try list("limit=1&page_token=\(first.nextPageToken ?? "")").items.map(\.id) == [ready[1]])
  }

  @Test func nothingNewWhileDraining() throws {
    let harness = try Harness()
    let ready = try harness.create(#"{"image":"spin","start":false}"#).id
    let running = try harness.create(#"{"image":"spin"}"#).id
    #expect(harness.send("GET", "/readyz").text == "ok\n")
    harness.fleet.beginDraining()
    for (method, path, body) in [
      ("POST", "/v1/vms", #"{"image":"spin"}"#), ("POST", "/v1/vms/\(ready)/start", ""),
      ("POST", "/v1/vms/\(running)/resume", ""), ("PUT", "/v1/pools/a", #"{"image":"spin","ready":1}"#),
      ("GET", "/readyz", ""),
    ] {
      let reply = harness.send(method, path, body)
      #expect(reply.status == 503 && reply.problem?.kind == "draining", "\(method) \(path)")
    }
    #expect(harness.send("GET", "/livez").text == "ok\n")
    #expect(harness.send("GET", "/v1/vms/\(ready)").status == 200)
    #expect(harness.send("POST", "/v1/vms/\(running)/vcpus/0/kick").status == 200)
    #expect(harness.send("POST", "/v1/vms/\(running)/stop").status == 200)
    #expect(harness.send("DELETE", "/v1/vms/\(running)").status == 204)
  }
}

/// What a real VM cannot be driven to.
@Suite struct UnwillingMachineTests {
  @Test(arguments: [
    (MachineCreationError.vcpu(.thread(.resourceTemporarilyUnavailable)), 503, "resources-exhausted"),
    (.devices(.wrapsAround(base: .max, size: 2)), 500, "internal-error"),
  ])
  func aVMThatCannotBeMade(refusal: MachineCreationError, status: Int, kind: String) {
    let harness = Harness(factory: StubFactory(refusal: refusal), limits: FleetLimits(vms: 1))
    // The half-made VM leaves nothing behind: the second attempt fails for the same reason, not for want of room.
    for _ in 0..<2 {
      let reply = harness.send("POST", "/v1/vms", #"{"image":"spin"}"#)
      #expect(reply.status == status && reply.problem?.kind == kind)
    }
  }

  /// An empty host has no room for the VM either, so the server does not ask the client to come again.
  @Test(arguments: [
    (FleetLimits(memoryMiB: 5), "/memory_mib"), (FleetLimits(descriptors: 3), "/vcpus"),
    (FleetLimits(mappings: 4), "/vcpus"), (FleetLimits(threads: 1), "/vcpus"),
  ])
  func aVMLargerThanTheHostIsTheClientsMistake(limits: FleetLimits, pointer: String) {
    let harness = Harness(factory: StubFactory(), limits: limits)
    let members = #""image":"spin","vcpus":2,"memory_mib":64"#
    for (method, path, body) in [
      ("POST", "/v1/vms", "{\(members)}"), ("PUT", "/v1/pools/p", "{\(members),\"ready\":0}"),
    ] {
      let reply = harness.send(method, path, body)
      #expect(reply.status == 400 && reply.problem?.kind == "invalid-member", "\(reply.text)")
      #expect(reply.problem?.pointer == pointer && reply["Retry-After"] == nil)
    }
    #expect(harness.send("GET", "/v1/pools/p").status == 404)
  }

  @Test func noMoreVMsThanAllowed() throws {
    let harness = Harness(factory: StubFactory(), limits: FleetLimits(vms: 1))
    let id = try harness.create(#"{"image":"spin"}"#).id
    let reply = harness.send("POST", "/v1/vms", #"{"image":"spin"}"#)
    #expect(reply.status == 503 && reply.problem?.kind == "resources-exhausted")
    #expect(reply.problem?.detail.contains("--max-vms") == true)
    #expect(harness.send("DELETE", "/v1/vms/\(id)").status == 204)
    #expect(harness.send("POST", "/v1/vms", #"{"image":"spin"}"#).status == 201)
  }

  @Test func noMorePoolsThanAllowed() {
    let harness = Harness(factory: StubFactory(), limits: FleetLimits(pools: 1))
    #expect(harness.send("PUT", "/v1/pools/a", #"{"image":"spin","ready":0}"#).status == 201)
    #expect(harness.send("PUT", "/v1/pools/b", #"{"image":"spin","ready":0}"#).status == 503)
  }

  private static func deaf(
    controlNS: UInt64 = 5_000_000, _ published: @escaping @Sendable (any ManagedMachine) -> Void = { _ in }
  ) throws -> Harness {
    let real = KVMMachineFactory(system: try RealKVM.system.get())
    return Harness(factory: DeafFactory(real: real, published: published), controlNS: controlNS)
  }

  @Test(.enabled(if: RealKVM.isAvailable), arguments: ["start", "pause", "stop"])
  func noAcknowledgement(verb: String) throws {
    let harness = try Self.deaf()
    let id = try harness.create("{\"image\":\"spin\",\"start\":\(verb != "start")}").id
    let reply = harness.send("POST", "/v1/vms/\(id)/\(verb)")
    #expect(reply.status == 504 && reply.problem?.kind == "kick-timeout")
  }

  /// A client's pause takes long, and another client resumes the VM meanwhile: that was later, so the VM runs.
  @Test(.enabled(if: RealKVM.isAvailable)) func aLaterOppositeRequestIsNotUndone() throws {
    let pauses = Mutex(0)
    let harness = try Self.deaf { machine in
      let isFirst = pauses.withLock { pauses in
        pauses += 1
        return pauses == 1
      }
      if isFirst { try? machine.resume(untilNS: .max) }
    }
    let id = try harness.create(#"{"image":"spin"}"#).id
    #expect(harness.send("POST", "/v1/vms/\(id)/pause").status == 504)
    #expect(try harness.send("GET", "/v1/vms/\(id)").document(VMDocument.self).state == "running")
    #expect(pauses.withLock { $0 } == 1)
  }

  /// The waiting ends with the client; the pause stands.
  @Test(.enabled(if: RealKVM.isAvailable)) func aClientThatLeavesDoesNotTakeItsPauseBack() throws {
    let harness = try Self.deaf(controlNS: 3_600_000_000_000)
    let id = try harness.create(#"{"image":"spin"}"#).id
    harness.ask("POST", "/v1/vms/\(id)/pause").leave()
    #expect(try harness.send("GET", "/v1/vms/\(id)").document(VMDocument.self).state == "paused")
    #expect(harness.api.answersInProgress == 0)
  }

  @Test(arguments: [
    (MachineControlError.deleted, 404, "vm-not-found"), (.failed("KVM_GET_REGS failed"), 500, "internal-error"),
    (.noSuchVCPU(index: 0, count: 0), 404, "vcpu-not-found"),
  ])
  func otherErrors(error: MachineControlError, status: Int, kind: String) throws {
    let harness = Harness(factory: StubFactory(controls: [error]))
    let id = try harness.create(#"{"image":"spin","start":false}"#).id
    let reply = harness.send("GET", "/v1/vms/\(id)/vcpus/0/registers")
    #expect(reply.status == status && reply.problem?.kind == kind)
  }

  @Test func aVMWithoutVCPUsIsBeingDeleted() throws {
    let harness = Harness(factory: StubFactory())
    let id = try harness.create(#"{"image":"spin","start":false}"#).id
    #expect(harness.send("GET", "/v1/vms/\(id)/vcpus").problem?.kind == "vm-not-found")
  }
}

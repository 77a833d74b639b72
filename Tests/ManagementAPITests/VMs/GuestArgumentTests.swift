import APIModel
import GuestImages
import MachineRuntime
import PoolManager
import Testing

@testable import ManagementAPI

/// What a guest is told when it is put to use, over the API. The guests are real.
@Suite(.enabled(if: RealKVM.isAvailable)) struct GuestArgumentTests {
  /// Multiboot, as 32-bit code for COM1: prints the command line, then the one module that it may have.
  private static let code: [UInt8] = [
    0x8B, 0x73, 0x10,  // mov esi, [ebx + 16]
    0x66, 0xBA, 0xF8, 0x03,  // mov dx, 0x3F8
    0xAC,  // lodsb
    0x84, 0xC0,  // test al, al
    0x74, 0x03,  // jz +3
    0xEE,  // out dx, al
    0xEB, 0xF8,  // jmp to lodsb
    0xB0, 0x0A, 0xEE,  // a line's end
    0x83, 0x7B, 0x14, 0x00,  // cmp dword [ebx + 20], 0
    0x74, 0x0D,  // je to the end
    0x8B, 0x6B, 0x18,  // mov ebp, [ebx + 24]
    0x8B, 0x75, 0x00,  // mov esi, [ebp]
    0x8B, 0x4D, 0x04,  // mov ecx, [ebp + 4]
    0x29, 0xF1, 0xF3, 0x6E,  // sub ecx, esi; rep outsb
    0x30, 0xC0, 0xE6, 0xF4,  // exit with 0
    0xF4, 0xEB, 0xFD,  // hlt, for ever
  ]

  /// The guest with a header that says where it belongs, as a pool's image.
  private static func image() throws -> GuestImage {
    let flags: UInt32 = 1 << 16
    let base: UInt32 = 0x10_0000
    let header: [UInt32] = [0x1BAD_B002, flags, 0 &- (0x1BAD_B002 &+ flags), base, base, 0, 0, base + 32]
    let bytes = header.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } } + code
    return try GuestImage(name: "teller", ImageParts(main: ImagePart(bytes), commandLine: "of the image"))
  }

  private static func harness() throws -> Harness {
    let harness = try Harness()
    try harness.fleet.declare(
      "tellers",
      PoolSpecification(vm: VMSpecification(image: try image(), vcpus: 1, memoryMiB: 2, deadlineNS: nil), ready: 1))
    #expect(harness.send("PUT", "/v1/pools/hello", #"{"image": "hello", "ready": 1}"#).status == 201)
    return harness
  }

  @Test func runsAreToldWhatTheyShouldBe() throws {
    let harness = try Self.harness()
    for (body, console) in [
      ("", "kernel of the image\n"),
      (#"{"command_line": "a b"}"#, "kernel a b\n"),
      (#"{"command_line": ""}"#, "kernel \n"),
      (#"{"environment": {"B": "2", "A": "1=1"}}"#, "kernel of the image\nA=1=1\nB=2\n"),
      (#"{"environment": {}, "command_line": "ä"}"#, "kernel ä\n"),
    ] {
      let members = body.isEmpty ? #"{"wait_ms": 30000}"# : body.dropLast() + #", "wait_ms": 30000}"#
      let reply = harness.send("POST", "/v1/pools/tellers/run", String(members))
      #expect(reply.status == 200, "\(reply.text)")
      let run = try reply.document(RunDocument.self)
      #expect(run.outcome == "exited")
      #expect(run.console == console)
      // Whoever has the answer finds the lease ended, and the VM gone.
      #expect(harness.fleet.leases().isEmpty)
      #expect(harness.send("GET", "/v1/vms/\(run.vm)").status == 404)
    }
  }

  @Test(arguments: [true, false]) func leasesAreToldWhatTheyShouldBe(start: Bool) throws {
    let harness = try Self.harness()
    let body = #"{"command_line": "leased", "environment": {"A": "1"}, "wait_ms": 30000, "start": \#(start)}"#
    let reply = harness.send("POST", "/v1/pools/tellers/leases", body)
    #expect(reply.status == 201, "\(reply.text)")
    let lease = try reply.document(LeaseDocument.self)
    if !start { #expect(harness.send("POST", "/v1/vms/\(lease.vm)/start").status == 200) }
    #expect(try harness.wait(for: "stopped", of: lease.vm).stop?.exitCode == 0)
    #expect(harness.send("GET", "/v1/vms/\(lease.vm)/console").text == "kernel leased\nA=1\n")
  }

  private static let long = String(repeating: "a", count: 5000)

  static let refusals: [(pool: String, body: String, pointer: String)] = [
    ("hello", #"{"command_line": ""}"#, "/command_line"),
    ("hello", #"{"environment": {}}"#, "/environment"),
    ("tellers", #"{"command_line": "\#(long)"}"#, "/command_line"),
    ("tellers", #"{"command_line": 1}"#, "/command_line"),
    ("tellers", #"{"environment": {"A": 1}}"#, "/environment/A"),
    ("tellers", #"{"environment": {"": "1"}}"#, "/environment"),
    ("tellers", #"{"environment": {"A=B": "1"}}"#, "/environment"),
    ("tellers", #"{"environment": {"A": "1\nB=2"}}"#, "/environment"),
    ("tellers", #"{"environment": {"A": "\#(long)\#(long)\#(long)\#(long)"}}"#, "/environment"),
  ]

  @Test(arguments: ["run", "leases"]) func refusesBeforeAVMIsTaken(operation: String) throws {
    let harness = try Self.harness()
    for (pool, body, pointer) in Self.refusals {
      let reply = harness.send("POST", "/v1/pools/\(pool)/\(operation)", body)
      #expect(reply.status == 400, "\(body): \(reply.text)")
      #expect(reply.problem?.pointer == pointer)
    }
    #expect(harness.fleet.leases().isEmpty)
    #expect(try harness.fleet.pool("tellers").leased == 0)
    #expect(harness.fleet.vms(after: nil, limit: .max).vms.allSatisfy { $0.machine.state == .ready })
  }

  @Test func aVMMadeByHandIsToldOrNotMade() throws {
    let harness = try Self.harness()
    let specification = VMSpecification(image: try Self.image(), vcpus: 1, memoryMiB: 2, deadlineNS: nil)
    let vm = try harness.fleet.create(
      specification, arguments: GuestArguments(commandLine: "by hand"), start: true, untilNS: .max)
    _ = try harness.wait(for: "stopped", of: vm.id)
    #expect(harness.send("GET", "/v1/vms/\(vm.id)/console").text == "kernel by hand\n")

    let made = harness.fleet.vms(after: nil, limit: .max).vms.filter { $0.pool == nil }.count
    for (body, pointer) in [
      (#"{"image": "hello", "command_line": "a"}"#, "/command_line"),
      (#"{"image": "hello", "environment": {"A": "1"}}"#, "/environment"),
    ] {
      let reply = harness.send("POST", "/v1/vms", body)
      #expect(reply.status == 400, "\(reply.text)")
      #expect(reply.problem?.pointer == pointer)
    }
    #expect(harness.fleet.vms(after: nil, limit: .max).vms.filter { $0.pool == nil }.count == made)
  }
}

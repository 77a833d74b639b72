import GuestImages
import TestSupport
import Testing

@testable import MachineRuntime

/// Unikernels that mean ill: they end themselves, and nothing else.
@Suite(.serialized, .enabled(if: Solo5Guests.areAvailable)) struct Solo5HostileTests {
  static let calls = [
    (number: 1, name: "WALLTIME", bytes: 8), (2, "PUTS", 16), (3, "POLL", 24), (4, "BLOCK_WRITE", 40),
    (5, "BLOCK_READ", 40), (6, "NET_WRITE", 40), (7, "NET_READ", 40), (8, "HALT", 16),
  ]

  /// Structures inside of memory to their last byte, straddling its end, outside, and about the end of 32 bits.
  @Test(arguments: calls) func structuresOutsideMemoryEndTheGuest(number: Int, name: String, bytes: Int) throws {
    for address in [0x20_0000 - bytes + 1, 0x1F_FFFF, 0x20_0000, 0x20_0001, 0x8000_0000, 0xFFFF_FFF8, 0xFFFF_FFFF] {
      let access = "o\(String(0x500 + number, radix: 16)),\(String(address, radix: 16))"
      let (output, stop) = try Solo5Guests.run(Solo5Guests.probe(access))
      let range = "\(bytes) bytes at 0x\(String(address, radix: 16))"
      guard case .guest(.crashed(let detail)) = stop else {
        return #expect(Bool(false), "\(name): \(range): \(stop as Any)")
      }
      #expect(detail.hasPrefix("the guest made hypercall \(name) with"))
      #expect(detail.contains("at 0x\(String(address, radix: 16)),") || number == 1 || detail.contains("0x"))
      #expect(output == "")
    }
    let last = "o\(String(0x500 + number, radix: 16)),\(String(0x20_0000 - bytes, radix: 16))"
    let (_, stop) = try Solo5Guests.run(Solo5Guests.probe(last))
    // The stack is there: whatever the guest asks for, it is answered, or ends it for what stands in the structure.
    #expect(stop != nil)
  }

  /// Buffers that structures point to.
  @Test(arguments: [
    "c2,200000,1", "c2,1fffff,2", "c2,0,200001", "c2,ffffffffffffffff,1", "c2,ffffffffffffffff,ffffffffffffffff",
    "c2,8000000000000000,8000000000000000", "c2,1,ffffffffffffffff", "c4,1,0,200000,200", "c4,1,0,1ffe01,200",
    "c5,1,0,1ffe01,200", "c5,1,0,ffffffffffffffff,200", "c5,1,0,fffffffffffffe00,200", "c5,1,0,7fffffffffffff00,200",
    "c8,200000,0", "c8,1ffe01,0", "c8,ffffffffffffffff,0",
  ]) func buffersOutsideMemoryEndTheGuest(_ call: String) throws {
    let (output, stop) = try Solo5Guests.run(Solo5Guests.probe(call))
    guard case .guest(.crashed(let detail)) = stop else { return #expect(Bool(false), "\(stop as Any)") }
    #expect(detail.hasPrefix("the guest made hypercall "))
    #expect(detail.hasSuffix("which are not all inside its memory"))
    #expect(output == "")
  }

  @Test(arguments: ["c2,200000,0", "c2,0,0", "c8,1ffe00,0"]) func emptyAndLastBuffersAreInside(_ call: String) throws {
    let (_, stop) = try Solo5Guests.run(Solo5Guests.probe(call))
    #expect(stop == .guest(.exited(code: 0)))
  }

  /// Structures in what is told to the guest, in its page tables and in its code: it harms itself alone.
  @Test func theGuestMayLetItsOwnTablesBeOverwritten() throws {
    for address in ["1000", "2000", "3000", "4000", "8000", "10000", "100000"] {
      let (_, stop) = try Solo5Guests.run(
        Solo5Guests.probe("c5,1,0,\(address),1000 c1,0"), deadlineNS: 1_000_000_000)
      #expect(stop != nil)
    }
  }

  @Test(arguments: [
    ("o500,0", "hypercall 0"), ("o509,0", "hypercall 9"), ("o50b,0", "hypercall 11"), ("b501,0", "hypercall WALLTIME"),
    ("b508,0", "hypercall HALT"),
  ]) func callsThatDoNotExistEndTheGuest(access: String, words: String) throws {
    let (_, stop) = try Solo5Guests.run(Solo5Guests.probe(access))
    if access == "o509,0" || access == "o50b,0" {
      // Beyond the last call's port there is no room for 32 bits: like every other port, silent.
      #expect(stop == .guest(.exited(code: 0)))
      return
    }
    guard case .guest(.crashed(let detail)) = stop else { return #expect(Bool(false), "\(stop as Any)") }
    #expect(detail.contains(words))
  }

  /// Of a long text the end is printed, at no more cost than a short one.
  @Test func longTextsAreCut() throws {
    let (output, stop) = try Solo5Guests.run(Solo5Guests.probe("c2,0,200000"))
    #expect(stop == .guest(.exited(code: 0)))
    #expect(output.utf8.count > 60_000)
  }

  /// Garbage to random ports, hypercalls and memory holes, by a guest with page tables of its own.
  @Test func garbageEndsNothingButTheGuest() throws {
    var random = SeededGenerator(for: "Solo5HostileTests.garbage")
    for _ in 0..<40 {
      let seed = String(UInt64.random(in: 0 ... .max, using: &random), radix: 16)
      let (_, stop) = try Solo5Guests.run(Solo5Guests.probe("g\(seed),100"), deadlineNS: 2_000_000_000)
      switch stop {
      case .guest(.exited), .guest(.crashed), .deadline: break
      default: #expect(Bool(false), "seed \(seed): \(stop as Any)")
      }
    }
  }
}

import GuestMemory
import Testing

@testable import Devices

/// Memory as firmware leaves it.
private struct Memory {
  let pieces: [PCFirmware.Piece]

  init(attachments: [DeviceAttachment] = .pc, vcpus: Int) {
    pieces = PCFirmware.pieces(attachments: attachments, vcpus: vcpus)
  }

  func bytes(at address: UInt64, count: Int) throws -> [UInt8] {
    let piece = try #require(pieces.last { $0.address <= address })
    let start = Int(address - piece.address)
    try #require(start + count <= piece.bytes.count)
    return Array(piece.bytes[start..<start + count])
  }

  func number(at address: UInt64, bytes: Int) throws -> UInt64 {
    try self.bytes(at: address, count: bytes).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// An ACPI table, which sums up to 0.
  func table(_ address: UInt64) throws -> [UInt8] {
    try bytes(at: address, count: Int(number(at: address + 4, bytes: 4)))
  }
}

private func sum(_ bytes: some Sequence<UInt8>) -> UInt8 { bytes.reduce(0, &+) }

private func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
  bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
}

struct ACPITableTests {
  /// Follows the pointers as a kernel does: each table by its signature and length, summing up to 0.
  private static func tables(_ memory: Memory) throws -> [String: [UInt8]] {
    let root = try memory.bytes(at: PCMemoryMap.tables.lowerBound, count: 36)
    #expect(root.starts(with: Array("RSD PTR ".utf8)))
    #expect(sum(root[0..<20]) == 0 && sum(root) == 0)
    let extended = try memory.table(number(root, 24, 8))
    var tables = ["XSDT": extended]
    for offset in stride(from: 36, to: extended.count, by: 8) {
      let table = try memory.table(number(extended, offset, 8))
      tables[String(decoding: table[0..<4], as: UTF8.self)] = table
    }
    let fixed = try #require(tables["FACP"])
    tables["DSDT"] = try memory.table(number(fixed, 140, 8))
    for table in tables.values { #expect(sum(table) == 0) }
    return tables
  }

  @Test(arguments: [1, 2, 8, 64]) func tablesAreFoundAndSumUp(vcpus: Int) throws {
    let memory = Memory(vcpus: vcpus)
    let tables = try Self.tables(memory)
    #expect(tables.count == 4)
    let fixed = try #require(tables["FACP"])
    let control = number(fixed, 36, 4)
    #expect(control % 64 == 0)
    #expect(try memory.table(control).count == 64)
    #expect(fixed.count == 276)
    #expect(number(fixed, 64, 4) == 0x604 && number(fixed, 120, 8) == 0xCF9)
    // There is a real-time clock: the bit that says "not present" is not set. Its century is where the table says.
    #expect(number(fixed, 109, 2) & 1 << 5 == 0 && fixed[108] == 0x32)

    let interrupts = try #require(tables["APIC"])
    var entries: [[UInt8]] = []
    var next = 44
    while next < interrupts.count {
      let entry = Array(interrupts[next..<next + Int(interrupts[next + 1])])
      if entry[0] == 0 { #expect(Int(entry[3]) == entries.count) }
      entries.append(entry)
      next += entry.count
    }
    #expect(entries.map { $0[0] } == [UInt8](repeating: 0, count: vcpus) + [1, 2, 2, 4])
    // The interval timer, interrupt 0, is on pin 2.
    #expect(entries.contains([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]))
  }

  /// The byte code that iasl makes of `Name (\_S5, Package () {0, 0, 0, 0})`.
  @Test func theDefinitionBlockSaysHowToPowerOff() throws {
    let table = try #require(try Self.tables(Memory(vcpus: 1))["DSDT"])
    #expect(Array(table.dropFirst(36)) == [0x08, 0x5F, 0x53, 0x35, 0x5F, 0x12, 0x06, 0x04, 0, 0, 0, 0])
  }

  /// Devices with a hardware ID are described, however many there are. The byte code is what iasl makes of
  /// `Device (VP00) {Name (_HID, "LNRO0005") Name (_UID, 0) Name (_CRS, ResourceTemplate () {Memory32Fixed (ReadWrite,
  /// 0xD0000000, 0x200) Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {5}})}`, with a word for each number.
  @Test func attachedDevicesAreDescribed() throws {
    func attachment(_ number: Int) -> DeviceAttachment {
      DeviceAttachment(
        "test-\(number)", at: .memory(0xD000_0000 + 0x200 * UInt64(number), size: 0x200), interrupt: 5,
        acpiID: "LNRO0005"
      ) { _ in DebugExit() }
    }
    for count in [1, 3, 60, 200] {
      let attachments = [DeviceAttachment].pc + (0..<count).map(attachment)
      let memory = Memory(attachments: attachments, vcpus: 64)
      let table = try #require(try Self.tables(memory)["DSDT"])
      var found = 0
      for start in table.indices where table[start...].starts(with: [0x5B, 0x82]) {
        let body = table[start...]
        #expect(body.dropFirst(3).starts(with: Array("VP".utf8)), "a device of less than 64 bytes")
        found += 1
      }
      #expect(found == 0 || found == count)
      let id = Array("LNRO0005\0".utf8)
      #expect(table.indices.count { table[$0...].starts(with: id) } == count)
      #expect(memory.pieces.allSatisfy { $0.address + UInt64($0.bytes.count) <= 0x10_0000 })
    }
  }
}

struct MPTableTests {
  @Test(arguments: [1, 8, 64]) func tablesAreFoundAndSumUp(vcpus: Int) throws {
    let memory = Memory(vcpus: vcpus)
    let segment = try memory.number(at: 0x40E, bytes: 2)
    let pointer = try memory.bytes(at: segment << 4, count: 16)
    #expect(pointer.starts(with: Array("_MP_".utf8)) && sum(pointer) == 0)
    let address = number(pointer, 4, 4)
    let table = try memory.bytes(at: address, count: Int(memory.number(at: address + 4, bytes: 2)))
    #expect(table.starts(with: Array("PCMP".utf8)) && sum(table) == 0)
    var kinds: [UInt8] = []
    var pins: [UInt8: UInt8] = [:]
    var next = 44
    while next < table.count {
      kinds.append(table[next])
      if table[next] == 3 { pins[table[next + 5]] = table[next + 7] }
      next += table[next] == 0 ? 20 : 8
    }
    #expect(next == table.count && kinds.count == Int(number(table, 34, 2)))
    #expect(kinds.count { $0 == 0 } == vcpus)
    #expect(pins[0] == 2 && pins[4] == 4 && pins[2] == nil && pins.count == 15)
  }

  @Test func theBIOSDataAreaHasWhatLoadersRead() throws {
    let memory = Memory(vcpus: 1)
    #expect(try memory.number(at: 0x400, bytes: 2) == 0x3F8)
    #expect(try memory.number(at: 0x40E, bytes: 2) == 0x9FC0)
    #expect(try memory.number(at: 0x413, bytes: 2) == 639)
  }
}

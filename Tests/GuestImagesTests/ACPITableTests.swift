import Testing

@testable import GuestImages

struct ACPITableTests {
  /// Follows the pointers as a kernel does: each table by its signature and length, summing up to 0.
  @Test(arguments: [1, 2, 8]) func tablesAreFoundAndSumUp(vcpus: Int) throws {
    let memory = try ACPITables.segment(vcpus: vcpus).bytes()
    func table(_ address: UInt64) throws -> [UInt8] {
      let start = try #require(Int(exactly: address - ACPITables.address))
      let length = Int(try #require(memory.littleEndian(UInt32.self, at: start + 4)))
      return Array(memory[start..<start + length])
    }
    func sum(_ bytes: some Sequence<UInt8>) -> UInt8 { bytes.reduce(0, &+) }
    #expect(Array(memory[0..<8]) == Array("RSD PTR ".utf8))
    #expect(sum(memory[0..<20]) == 0 && sum(memory[0..<36]) == 0)
    let root = try table(try #require(memory.littleEndian(UInt64.self, at: 24)))
    var tables = ["XSDT": root]
    for offset in stride(from: 36, to: root.count, by: 8) {
      let table = try table(try #require(root.littleEndian(UInt64.self, at: offset)))
      tables[String(decoding: table[0..<4], as: UTF8.self)] = table
    }
    let fixed = try #require(tables["FACP"])
    tables["DSDT"] = try table(try #require(fixed.littleEndian(UInt64.self, at: 140)))
    #expect(tables.count == 4)
    for table in tables.values { #expect(sum(table) == 0) }

    let control = UInt64(try #require(fixed.littleEndian(UInt32.self, at: 36)))
    #expect(control % 64 == 0)
    #expect(try table(control).count == 64)
    #expect(fixed.count == 276)
    #expect(fixed.littleEndian(UInt32.self, at: 64) == UInt32(PCPlatform.powerManagement) + 4)
    #expect(fixed.littleEndian(UInt64.self, at: 120) == PCPlatform.resetControl)

    let interrupts = try #require(tables["APIC"])
    var kinds: [UInt8] = []
    var next = 44
    while next < interrupts.count {
      kinds.append(interrupts[next])
      if interrupts[next] == 0 { #expect(Int(interrupts[next + 3]) == kinds.count - 1) }
      next += Int(interrupts[next + 1])
    }
    #expect(kinds == [UInt8](repeating: 0, count: vcpus) + [1, 2, 4])
  }

  /// The byte code that iasl makes of `Name (\_S5, Package () {0, 0, 0, 0})`.
  @Test func theDefinitionBlockTellsHowToPowerOff() throws {
    let memory = try ACPITables.segment(vcpus: 1).bytes()
    let start = try #require(memory.indices.first { memory[$0...].starts(with: Array("DSDT".utf8)) })
    let code = memory[(start + 36)..<(start + 48)]
    #expect(Array(code) == [0x08, 0x5F, 0x53, 0x35, 0x5F, 0x12, 0x06, 0x04, 0, 0, 0, 0])
  }
}

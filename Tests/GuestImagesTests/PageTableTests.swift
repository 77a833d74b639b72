import Testing

@testable import GuestImages

/// Walks page tables as the processor does: nil where it would fault, for a user-mode write.
private struct Walker {
  var memory: [UInt64: [UInt8]] = [:]

  init(_ layout: GuestLayout) throws {
    for segment in layout.segments { memory[segment.address] = try segment.bytes() }
  }

  func translate(_ address: UInt64, root: UInt64) -> UInt64? {
    var table = root
    for level in [39, 30, 21, 12] as [UInt64] {
      guard let page = memory[table], page.count == 4096 else { return nil }
      let index = Int(address >> level & 511)
      let entry = (0..<8).reduce(UInt64(0)) { $0 | UInt64(page[8 * index + $1]) << UInt64(8 * $1) }
      guard entry & 0b111 == 0b111, entry >> 52 == 0 else { return nil }
      let isLeaf = level == 12 || level < 39 && entry & 0x80 != 0
      let offsetMask: UInt64 = isLeaf ? (1 << level) - 1 : 0xFFF
      let base = entry & 0x000F_FFFF_FFFF_F000
      if isLeaf { return base & offsetMask == 0 ? base | address & offsetMask : nil }
      table = base
    }
    return nil
  }
}

struct PageTableTests {
  static let mapped: [UInt64] = [
    0, 1, 0xFFF, 0x1000, 0x10000, 0xF_FFFF, 0x10_0000, 0x1F_FFFF, 0x20_0000, 0x1234_5678, 0x3FFF_FFFF,
    0xC000_0000, 0xD000_0000, 0xD000_0001, 0xFEE0_0000, 0xFFFF_FFFF,
  ]
  static let unmapped: [UInt64] = [
    0x4000_0000, 0x7FFF_FFFF, 0x8000_0000, 0xBFFF_FFFF, 0x1_0000_0000, 0x1_0000_1000, 0x80_0000_0000,
    0x7FFF_FFFF_FFFF, 0xFFFF_8000_0000_0000, .max,
  ]

  @Test(arguments: BuiltinGuest.all)
  func builtinsSeeIdentityMaps(guest: BuiltinGuest) throws {
    let layout = try GuestImage.builtin(guest).layout(memoryBytes: 1 << 20, vcpus: 1)
    let root = try #require(layout.starts[0]).pageTableRoot
    let walker = try Walker(layout)
    for address in Self.mapped { #expect(walker.translate(address, root: root) == address) }
    for address in Self.unmapped { #expect(walker.translate(address, root: root) == nil) }
  }

  @Test func everyPageOfBothWindowsIsMapped() throws {
    let layout = try GuestImage.flat(FlatImage(mode: .long64, code: [0x90])).layout(memoryBytes: 1 << 30, vcpus: 8)
    let walker = try Walker(layout)
    for start: UInt64 in [0, 0xC000_0000] {
      for page in UInt64(0)..<512 {
        let address = start + page << 21 + page
        #expect(walker.translate(address, root: 0x1000) == address)
      }
    }
  }

  @Test func tablesStandWhereTheyShould() throws {
    let layout = try GuestImage.flat(FlatImage(mode: .long64, code: [1])).layout(memoryBytes: 1 << 20, vcpus: 1)
    #expect(layout.segments.map(\.address) == [0x1000, 0x2000, 0x3000, 0x4000, 0x10000])
    #expect(layout.segments.map(\.count) == [4096, 4096, 4096, 4096, 1])
  }

  @Test(arguments: [FlatMode.real16, .prot32])
  func otherModesHaveNone(mode: FlatMode) throws {
    let layout = try GuestImage.flat(FlatImage(mode: mode, code: [1])).layout(memoryBytes: 1 << 20, vcpus: 1)
    #expect(layout.segments.map(\.address) == [0x10000])
    #expect(layout.starts[0]?.pageTableRoot == 0)
  }
}

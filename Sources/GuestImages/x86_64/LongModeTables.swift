/// The page tables 64-bit guests start with: the first GiB, and the fourth, where memory-mapped devices are, mapped to
/// themselves in 2 MiB pages that every ring may read, write and execute.
///
/// They may map more than the VM's memory: an access beyond it then leaves the guest as a memory-mapped access.
enum LongModeTables {
  /// The guest-physical address of the PML4 table.
  static let root: UInt64 = 0x1000

  /// The first address that the tables, and all other start-up state, leave to images.
  static let reservedEnd: UInt64 = 0x10000

  /// How far images can be mapped: the first GiB.
  static let mappedEnd: UInt64 = 1 << 30

  /// The tables, each one page. The same for every VM, so made once; the arrays share their storage.
  static let segments: [GuestSegment] = [
    GuestSegment(address: root, bytes: table([0: 0x2000 | tableFlags])),
    GuestSegment(address: 0x2000, bytes: table([0: 0x3000 | tableFlags, 3: 0x4000 | tableFlags])),
    GuestSegment(address: 0x3000, bytes: table(largePages(from: 0))),
    GuestSegment(address: 0x4000, bytes: table(largePages(from: 0xC000_0000))),
  ]

  // Present, writable, user, and already accessed (and dirty): the processor then never writes to the tables, and
  // they stay clean pages.
  private static let tableFlags: UInt64 = 0x27
  private static let largePageFlags: UInt64 = 0xE7

  private static func largePages(from base: UInt64) -> [Int: UInt64] {
    var entries: [Int: UInt64] = [:]
    for index in 0..<512 { entries[index] = base + UInt64(index) << 21 | largePageFlags }
    return entries
  }

  private static func table(_ entries: [Int: UInt64]) -> [UInt8] {
    (0..<512).flatMap { index in (0..<8).map { UInt8(truncatingIfNeeded: (entries[index] ?? 0) >> (8 * $0)) } }
  }
}

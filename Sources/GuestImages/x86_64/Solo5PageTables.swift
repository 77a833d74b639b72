/// The page tables a Solo5 unikernel starts with: its memory mapped to itself, each segment with its own permissions, and
/// memory beside them writable and not executable. Below 0x10000 nothing is mapped, so null pointers, the tables and the
/// descriptor table are out of reach. From there to 0x100000 is the boot information, which can only be read.
struct Solo5PageTables {
  /// The guest-physical address of the PML4 table; others follow.
  static let root: UInt64 = 0x2000
  /// The first address that is mapped.
  static let mappedStart: UInt64 = 0x10000
  /// The first address of the unikernel.
  static let guestStart: UInt64 = 0x100000
  /// In 2 MiB each of which so many may hold more than one permission.
  static let mixedLimit = 8

  static let pageBytes: UInt64 = 0x1000
  static let largePageBytes: UInt64 = 0x200000

  private static let pointers: UInt64 = 0x3000
  private static let directories: UInt64 = 0x4000
  private static let tables: UInt64 = 0x8000

  // Entries' bits: SDM volume 3, section 5.5. Accessed and dirty are set, so that the processor never writes them.
  private static let present: UInt64 = 1 << 0 | 1 << 5
  private static let writable: UInt64 = 1 << 1
  private static let dirty: UInt64 = 1 << 6
  private static let large: UInt64 = 1 << 7
  private static let noExecute: UInt64 = 1 << 63

  /// Pages with one set of permissions.
  struct Span: Equatable {
    let pages: Range<UInt64>
    /// An entry's bits but its address: 0 where nothing is mapped.
    let bits: UInt64
  }

  /// Throws unless there are tables enough for segments in `spans`.
  static func check(_ spans: [Span]) throws(Solo5Error) {
    guard mixed(bootInformation + spans).count <= mixedLimit else { throw .scatteredSegments(limit: mixedLimit) }
  }

  private static let bootInformation = [Span(pages: mappedStart..<guestStart, bits: present | dirty | noExecute)]

  /// The 2 MiB, by their addresses, in which a span begins or ends.
  private static func mixed(_ spans: [Span]) -> Set<UInt64> {
    Set(
      spans.flatMap { [$0.pages.lowerBound, $0.pages.upperBound] }
        .filter { $0 % largePageBytes != 0 }.map { $0 / largePageBytes * largePageBytes })
  }

  /// Tables for `memoryBytes`, a multiple of 2 MiB up to 4 GiB, with segments in `spans`: ascending, disjoint, above
  /// `guestStart`, whole pages, and checked.
  static func segments(_ spans: [Span], memoryBytes: UInt64) -> [GuestSegment] {
    let spans = bootInformation + spans
    let mixed = mixed(spans)
    let directoryCount = Int((memoryBytes + (1 << 30) - 1) >> 30)
    var pointed: [Int: UInt64] = [:]
    for index in 0..<directoryCount {
      pointed[index] = directories + UInt64(index) * pageBytes | present | writable
    }
    var result = [
      GuestSegment(address: root, bytes: table([0: pointers | present | writable])),
      GuestSegment(address: pointers, bytes: table(pointed)),
    ]
    var leaves: [GuestSegment] = []
    for index in 0..<directoryCount {
      var entries: [Int: UInt64] = [:]
      for slot in 0..<512 {
        let start = UInt64(index << 9 | slot) * largePageBytes
        guard start < memoryBytes else { break }
        if mixed.contains(start) {
          let address = tables + UInt64(leaves.count) * pageBytes
          leaves.append(GuestSegment(address: address, bytes: leaf(spans, from: start)))
          entries[slot] = address | present | writable
        } else {
          let bits = bits(spans, at: start)
          entries[slot] = bits == 0 ? 0 : start | bits | large
        }
      }
      result.append(GuestSegment(address: directories + UInt64(index) * pageBytes, bytes: table(entries)))
    }
    return result + leaves
  }

  private static func leaf(_ spans: [Span], from start: UInt64) -> [UInt8] {
    var entries: [Int: UInt64] = [:]
    for slot in 0..<512 {
      let page = start + UInt64(slot) * pageBytes
      let bits = bits(spans, at: page)
      if bits != 0 { entries[slot] = page | bits }
    }
    return table(entries)
  }

  private static func bits(_ spans: [Span], at page: UInt64) -> UInt64 {
    if let span = spans.first(where: { $0.pages.contains(page) }) { return span.bits }
    return page < mappedStart ? 0 : present | dirty | writable | noExecute
  }

  private static func table(_ entries: [Int: UInt64]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Int(pageBytes))
    for (slot, entry) in entries where entry != 0 {
      bytes.replaceSubrange(8 * slot..<8 * slot + 8, with: [UInt8](littleEndian: entry))
    }
    return bytes
  }
}

extension Solo5PageTables.Span {
  /// The pages of a segment. A page that may not even be read is not mapped; one that may be executed can be read too:
  /// page tables know no difference.
  init(_ segment: ELFFile.Segment) {
    let mask = Solo5PageTables.pageBytes - 1
    // No overflow: segments end below 4 GiB.
    let end = (segment.virtualAddress + segment.memoryBytes + mask) & ~mask
    var bits: UInt64 = 1 << 0 | 1 << 5 | 1 << 6
    if segment.isWritable { bits |= 1 << 1 }
    if !segment.isExecutable { bits |= 1 << 63 }
    if segment.access.isEmpty { bits = 0 }
    self.init(pages: segment.virtualAddress & ~mask..<end, bits: bits)
  }
}

/// An ELF file for x86, little-endian: its header and program headers, read once and with checks. Sections do not matter.
///
/// Source: System V ABI, "Object Files" and "Program Loading" (gABI 4.1), and its x86-64 supplement.
struct ELFFile: Sendable, Equatable {
  /// One program header.
  struct Segment: Sendable, Equatable {
    /// Its place in the table of program headers.
    let number: Int
    /// What it is, such as `load`.
    let type: UInt32
    /// How it may be accessed.
    let flags: UInt32
    /// Where its bytes are in the file.
    let offset: UInt64
    let virtualAddress: UInt64
    let physicalAddress: UInt64
    /// Bytes in the file.
    let fileBytes: UInt64
    /// Bytes in memory: those beyond the file's are zero.
    let memoryBytes: UInt64
    let alignment: UInt64

    // Types of program headers.
    static let load: UInt32 = 1
    static let dynamic: UInt32 = 2
    static let interpreter: UInt32 = 3
    static let note: UInt32 = 4

    var isExecutable: Bool { flags & 1 != 0 }
    var isWritable: Bool { flags & 2 != 0 }
    var isReadable: Bool { flags & 4 != 0 }

    /// `r`, `w` and `x`, as far as they apply.
    var access: String { (isReadable ? "r" : "") + (isWritable ? "w" : "") + (isExecutable ? "x" : "") }
  }

  /// Values of `type`.
  static let executable: UInt16 = 2
  static let sharedObject: UInt16 = 3
  /// Values of `machine`.
  static let i386: UInt16 = 3
  static let x86_64: UInt16 = 62

  private static let magic: [UInt8] = [0x7F, 0x45, 0x4C, 0x46]
  private static let headerBytes = 64
  private static let segmentLimit = 128

  /// The file.
  let part: ImagePart
  /// Whether its addresses have 64 bits, else 32.
  let is64Bit: Bool
  let type: UInt16
  let machine: UInt16
  /// The (virtual) address it starts at.
  let entry: UInt64
  /// Its program headers, in the file's order.
  let segments: [Segment]

  /// Nil where the bytes do not begin as an ELF file does.
  init?(_ part: ImagePart) throws(ELFDefect) {
    let head = try Self.read(part, at: 0, count: min(part.count, UInt64(Self.headerBytes)))
    guard head.starts(with: Self.magic) else { return nil }
    guard let fields = Fields(head) else { throw .truncated }
    guard fields.isLittleEndian else { throw .notLittleEndian }
    guard fields.isVersion1 else { throw .version }
    guard let header = Header(fields) else { throw .truncated }
    self.part = part
    is64Bit = fields.is64Bit
    type = header.type
    machine = header.machine
    entry = header.entry
    segments = try Self.segments(of: part, header, is64Bit: fields.is64Bit)
  }

  private static func segments(
    of part: ImagePart, _ header: Header, is64Bit: Bool
  ) throws(ELFDefect) -> [Segment] {
    let size = is64Bit ? 56 : 32
    let count = Int(header.segmentCount)
    guard count > 0 else { return [] }
    guard header.segmentSize == UInt16(size) else { throw .segmentHeaderSize(header.segmentSize, expected: size) }
    guard count <= segmentLimit else { throw .tooManySegments(count, limit: segmentLimit) }
    guard part.contains(offset: header.segmentOffset, count: UInt64(count * size)) else { throw .truncated }
    let table = try read(part, at: header.segmentOffset, count: UInt64(count * size))
    var segments: [Segment] = []
    for number in 0..<count {
      let entry = Array(table[number * size..<(number + 1) * size])
      guard let segment = Segment(number: number, entry, is64Bit: is64Bit) else { throw .truncated }
      segments.append(segment)
    }
    return segments
  }

  /// What is to be loaded, by ascending physical address: in the file, disjoint, and ending before the last address.
  /// Segments without memory are left out.
  func loaded() throws(ELFDefect) -> [Segment] {
    let loaded = segments.filter { $0.type == Segment.load && ($0.memoryBytes > 0 || $0.fileBytes > 0) }
      .sorted { $0.physicalAddress < $1.physicalAddress }
    guard !loaded.isEmpty else { throw .nothingToLoad }
    for segment in loaded {
      // What is all zeros has no bytes in the file, wherever it says that they are.
      guard segment.fileBytes == 0 || part.contains(offset: segment.offset, count: segment.fileBytes) else {
        throw .segmentBeyondFile(segment.number)
      }
      guard segment.fileBytes <= segment.memoryBytes else { throw .segmentShorterThanFile(segment.number) }
      for address in [segment.physicalAddress, segment.virtualAddress] {
        guard !address.addingReportingOverflow(segment.memoryBytes).overflow else {
          throw .segmentOverflows(segment.number)
        }
      }
    }
    for (below, above) in zip(loaded, loaded.dropFirst()) {
      guard below.physicalAddress + below.memoryBytes <= above.physicalAddress else {
        throw .segmentsOverlap(min(below.number, above.number), max(below.number, above.number))
      }
    }
    return loaded
  }

  /// The physical address of the entry, which is in one of the executable segments that are `loaded`. Kernels that turn
  /// paging on themselves may give the virtual address of their first instruction, or its physical one.
  func physicalEntry(in loaded: [Segment]) throws(ELFDefect) -> UInt64 {
    let executable = loaded.filter(\.isExecutable)
    for segment in executable where entry >= segment.virtualAddress {
      let offset = entry - segment.virtualAddress
      if offset < segment.memoryBytes { return segment.physicalAddress + offset }
    }
    for segment in executable where entry >= segment.physicalAddress {
      if entry - segment.physicalAddress < segment.memoryBytes { return entry }
    }
    throw .entryOutsideSegments(entry)
  }

  static func read(
    _ part: ImagePart, at offset: UInt64, count: UInt64
  ) throws(ELFDefect) -> [UInt8] {
    do throws(ImageReadError) {
      return try part.bytes(at: offset, count: Int(clamping: count))
    } catch { throw .unreadable(error) }
  }
}

/// The bytes of a file's header, and what they say of all others.
private struct Fields {
  let bytes: [UInt8]
  let is64Bit: Bool

  // Offsets and values in e_ident.
  private static let classOffset = 4, dataOffset = 5, versionOffset = 6
  private static let class32: UInt8 = 1, class64: UInt8 = 2, littleEndian: UInt8 = 1, currentVersion: UInt8 = 1
  /// Bytes of the header of a 32-bit file, the shorter one.
  private static let leastBytes = 52

  init?(_ bytes: [UInt8]) {
    guard bytes.count >= Self.leastBytes else { return nil }
    let width = bytes[Self.classOffset]
    guard width == Self.class32 || width == Self.class64 else { return nil }
    self.bytes = bytes
    is64Bit = width == Self.class64
  }

  var isLittleEndian: Bool { bytes[Self.dataOffset] == Self.littleEndian }
  var isVersion1: Bool { bytes[Self.versionOffset] == Self.currentVersion }
}

/// A file's header, as far as it is of use here.
private struct Header {
  /// Offsets that are the same in files of 32 and of 64 bits.
  private enum Offset { static let type = 16, machine = 18, entry = 24 }

  let type: UInt16
  let machine: UInt16
  let entry: UInt64
  let segmentOffset: UInt64
  let segmentSize: UInt16
  let segmentCount: UInt16

  init?(_ fields: Fields) {
    let bytes = fields.bytes
    let is64Bit = fields.is64Bit
    guard
      let type = bytes.littleEndian(UInt16.self, at: Offset.type),
      let machine = bytes.littleEndian(UInt16.self, at: Offset.machine),
      let entry = bytes.address(at: Offset.entry, is64Bit: is64Bit),
      let segmentOffset = bytes.address(at: is64Bit ? 32 : 28, is64Bit: is64Bit),  // e_phoff
      let segmentSize = bytes.littleEndian(UInt16.self, at: is64Bit ? 54 : 42),  // e_phentsize
      let segmentCount = bytes.littleEndian(UInt16.self, at: is64Bit ? 56 : 44)  // e_phnum
    else { return nil }
    self.type = type
    self.machine = machine
    self.entry = entry
    self.segmentOffset = segmentOffset
    self.segmentSize = segmentSize
    self.segmentCount = segmentCount
  }
}

extension ELFFile.Segment {
  fileprivate init?(number: Int, _ entry: [UInt8], is64Bit: Bool) {
    guard
      let type = entry.littleEndian(UInt32.self, at: 0),
      let flags = entry.littleEndian(UInt32.self, at: is64Bit ? 4 : 24),
      let offset = entry.address(at: is64Bit ? 8 : 4, is64Bit: is64Bit),
      let virtualAddress = entry.address(at: is64Bit ? 16 : 8, is64Bit: is64Bit),
      let physicalAddress = entry.address(at: is64Bit ? 24 : 12, is64Bit: is64Bit),
      let fileBytes = entry.address(at: is64Bit ? 32 : 16, is64Bit: is64Bit),
      let memoryBytes = entry.address(at: is64Bit ? 40 : 20, is64Bit: is64Bit),
      let alignment = entry.address(at: is64Bit ? 48 : 28, is64Bit: is64Bit)
    else { return nil }
    self.init(
      number: number, type: type, flags: flags, offset: offset, virtualAddress: virtualAddress,
      physicalAddress: physicalAddress, fileBytes: fileBytes, memoryBytes: memoryBytes, alignment: alignment)
  }
}

extension Array where Element == UInt8 {
  /// The file's kind of address at `offset`: of 64 or of 32 bits.
  fileprivate func address(at offset: Int, is64Bit: Bool) -> UInt64? {
    is64Bit ? littleEndian(UInt64.self, at: offset) : littleEndian(UInt32.self, at: offset).map(UInt64.init)
  }
}

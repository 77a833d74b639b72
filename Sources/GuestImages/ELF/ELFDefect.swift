/// What is wrong with an ELF file, or why it cannot be started by itself. Segments are called by their number in the table
/// of program headers, from 0, as `readelf --segments` lists them.
public enum ELFDefect: Error, Sendable, Equatable, CustomStringConvertible {
  /// Its bytes cannot be had.
  case unreadable(ImageReadError)
  /// It ends before its headers do, or its class is neither 32 nor 64 bits.
  case truncated
  /// It is for processors of the other byte order.
  case notLittleEndian
  /// Its format is not version 1.
  case version
  /// Its program headers have another size than those of its class.
  case segmentHeaderSize(UInt16, expected: Int)
  /// It has too many program headers.
  case tooManySegments(Int, limit: Int)
  /// No segment of it is to be loaded.
  case nothingToLoad
  /// The segment's bytes are not all in the file.
  case segmentBeyondFile(Int)
  /// The segment has more bytes in the file than in memory.
  case segmentShorterThanFile(Int)
  /// The segment ends past the last address.
  case segmentOverflows(Int)
  /// Both claim the same memory.
  case segmentsOverlap(Int, Int)
  /// The entry is in no executable segment.
  case entryOutsideSegments(UInt64)
  /// A note that decides how the file is started ends after the segment that it is in.
  case noteBeyondSegment(Int)
  /// It has 32 bits, and neither a Multiboot header nor a PVH note.
  case not64Bit
  /// It is for another processor than the expected one.
  case machine(UInt16, expected: UInt16)
  /// It is not an executable for fixed addresses.
  case type(UInt16)
  /// The segment names a program interpreter.
  case interpreter(Int)
  /// The segment is for a dynamic linker.
  case dynamic(Int)
  /// The PVH note holds no address of 32 bits.
  case pvhEntry
  /// The PVH note's entry is in no segment.
  case pvhEntryOutsideSegments(UInt64)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .unreadable(let error): "The image's \(error). Upload it again."
    case .truncated: "The ELF file ends before its headers do, or its class is unknown. Upload it whole."
    case .notLittleEndian: "The ELF file is big-endian. Build it for x86."
    case .version: "The ELF file's version is not 1, the only one there is. Build it again."
    case .segmentHeaderSize(let size, let expected):
      "The ELF file's program headers have \(size) bytes each, not \(expected). Build it again."
    case .tooManySegments(let count, let limit):
      "The ELF file has \(count) program headers. Link it so that it has at most \(limit)."
    case .nothingToLoad: "The ELF file has no segment to load (PT_LOAD). Link it as an executable."
    case .segmentBeyondFile(let number): "Segment \(number) of the ELF file ends after the file does. Upload it whole."
    case .segmentShorterThanFile(let number):
      "Segment \(number) of the ELF file has more bytes in the file than in memory. Link it again."
    case .segmentOverflows(let number): "Segment \(number) of the ELF file ends past the last address. Link it lower."
    case .segmentsOverlap(let first, let second):
      "Segments \(first) and \(second) of the ELF file overlap in physical memory. Link them apart."
    case .entryOutsideSegments(let entry):
      "The ELF file's entry 0x\(String(entry, radix: 16)) is in none of its executable segments. Link it there."
    case .noteBeyondSegment(let number):
      """
      A note of Solo5, Xen or Linux in segment \(number) of the ELF file, which says how to start it, ends after the \
      segment does. Build it again.
      """
    case .not64Bit:
      """
      The ELF file has 32 bits, and neither a Multiboot header nor a PVH note (Xen, type 18). Give it one of them, or \
      build it for 64 bits.
      """
    case .machine(let machine, let expected):
      "The ELF file is for machine \(machine), not \(expected == ELFFile.i386 ? "i386 (3)" : "x86-64 (62)"). Build it for that."
    case .type(ELFFile.sharedObject):
      "The ELF file is position-independent (ET_DYN). Link it for fixed addresses (-static -no-pie)."
    case .type(let type): "The ELF file is of type \(type), not an executable (2). Link it as one."
    case .interpreter(let number):
      "Segment \(number) of the ELF file asks for a program interpreter (PT_INTERP). Link it statically."
    case .dynamic(let number):
      "Segment \(number) of the ELF file is for a dynamic linker (PT_DYNAMIC). Link it statically, without PIE."
    case .pvhEntry: "The ELF file's PVH note (Xen, type 18) holds no address of 32 bits. Build it again."
    case .pvhEntryOutsideSegments(let entry):
      "The ELF file's PVH entry 0x\(String(entry, radix: 16)) is in none of its segments. Link it there."
    }
  }
}

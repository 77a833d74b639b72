/// What is wrong with an ELF file. Segments are called by their number in the table of program headers, from 0, as
/// `readelf --segments` lists them.
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
  /// It has more program headers than anybody needs.
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
  /// The notes are longer than anybody needs.
  case notesTooLong(Int, bytes: UInt64, limit: UInt64)
  /// A note ends after the segment that it is in.
  case noteBeyondSegment(Int)

  /// What is wrong and what to do, in sentences.
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
    case .notesTooLong(let number, let bytes, let limit):
      "Segment \(number) of the ELF file has \(bytes) bytes of notes. Link it so that it has at most \(limit)."
    case .noteBeyondSegment(let number):
      "A note in segment \(number) of the ELF file ends after the segment does. Build it again."
    }
  }
}

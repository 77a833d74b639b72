@testable import GuestImages

/// An ELF file put together byte by byte, right or wrong as the test wants it.
struct ELFBuilder {
  struct Segment {
    var type: UInt32 = ELFFile.Segment.load
    var flags: UInt32 = 5
    /// Where its bytes are said to be; nil: where they are.
    var offset: UInt64?
    var virtualAddress: UInt64
    /// The virtual one when nil.
    var physicalAddress: UInt64?
    var bytes: [UInt8] = []
    /// As many as there are when nil.
    var fileBytes: UInt64?
    var memoryBytes: UInt64?
    var alignment: UInt64 = 4
  }

  var is64Bit = true
  var type = ELFFile.executable
  var machine = ELFFile.x86_64
  var entry: UInt64 = 0
  var segments: [Segment] = []

  /// The file: header, program headers, then the segments' bytes one after another, each at a multiple of 16.
  var bytes: [UInt8] {
    let headerBytes = is64Bit ? 64 : 52
    let segmentBytes = is64Bit ? 56 : 32
    var contents: [UInt8] = []
    var table: [UInt8] = []
    let start = (headerBytes + segments.count * segmentBytes + 15) / 16 * 16
    for segment in segments {
      contents += [UInt8](repeating: 0, count: (16 - contents.count % 16) % 16)
      let offset = segment.offset ?? UInt64(start + contents.count)
      contents += segment.bytes
      table += header(of: segment, at: offset)
    }
    var file: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, is64Bit ? 2 : 1, 1, 1] + [UInt8](repeating: 0, count: 9)
    file += [UInt8](littleEndian: type) + [UInt8](littleEndian: machine) + [UInt8](littleEndian: UInt32(1))
    file += address(entry) + address(UInt64(headerBytes)) + address(0) + [UInt8](littleEndian: UInt32(0))
    for half in [headerBytes, segmentBytes, segments.count, 0, 0, 0] { file += [UInt8](littleEndian: UInt16(half)) }
    file += table
    return file + [UInt8](repeating: 0, count: start - file.count) + contents
  }

  var part: ImagePart { ImagePart(bytes) }

  private func header(of segment: Segment, at offset: UInt64) -> [UInt8] {
    let flags = [UInt8](littleEndian: segment.flags)
    let fileBytes = segment.fileBytes ?? UInt64(segment.bytes.count)
    let places =
      address(offset) + address(segment.virtualAddress) + address(segment.physicalAddress ?? segment.virtualAddress)
    let sizes = address(fileBytes) + address(segment.memoryBytes ?? fileBytes)
    return [UInt8](littleEndian: segment.type) + (is64Bit ? flags : []) + places + sizes + (is64Bit ? [] : flags)
      + address(segment.alignment)
  }

  private func address(_ value: UInt64) -> [UInt8] {
    is64Bit ? [UInt8](littleEndian: value) : [UInt8](littleEndian: UInt32(truncatingIfNeeded: value))
  }

  /// A note, as it stands in a segment whose notes begin at multiples of `unit`.
  static func note(_ owner: String, _ type: UInt32, _ descriptor: [UInt8], unit: Int = 4) -> [UInt8] {
    func padded(_ bytes: [UInt8]) -> [UInt8] {
      bytes + [UInt8](repeating: 0, count: (unit - bytes.count % unit) % unit)
    }
    let name = Array(owner.utf8) + [0]
    let sizes = [UInt8](littleEndian: UInt32(name.count)) + [UInt8](littleEndian: UInt32(descriptor.count))
    return padded(padded(sizes + [UInt8](littleEndian: type) + name) + descriptor)
  }
}

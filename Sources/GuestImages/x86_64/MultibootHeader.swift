/// The header that a Multiboot kernel has in its first 8 KiB.
///
/// Source: Multiboot Specification 0.6.96, section 3.1.
struct MultibootHeader: Sendable, Equatable {
  private static let magic: UInt32 = 0x1BAD_B002
  private static let searchBytes: UInt64 = 8192

  /// Where it is in the file.
  let offset: UInt32
  let flags: UInt32
  /// Where the file belongs, where the header says that.
  let addresses: MultibootError.Addresses?

  /// Nil where there is none.
  init?(_ file: ImagePart) throws(ImageReadError) {
    let head = try file.bytes(at: 0, count: Int(min(file.count, Self.searchBytes)))
    for offset in stride(from: 0, through: head.count - 12, by: 4) {
      guard
        head.littleEndian(UInt32.self, at: offset) == Self.magic,
        let flags = head.littleEndian(UInt32.self, at: offset + 4),
        let checksum = head.littleEndian(UInt32.self, at: offset + 8),
        Self.magic &+ flags &+ checksum == 0
      else { continue }
      self.offset = UInt32(offset)
      self.flags = flags
      addresses = flags & 1 << 16 != 0 ? MultibootError.Addresses(head, at: offset + 12) : nil
      return
    }
    return nil
  }
}

extension MultibootError.Addresses {
  fileprivate init?(_ bytes: [UInt8], at offset: Int) {
    let words = (0..<5).compactMap { bytes.littleEndian(UInt32.self, at: offset + 4 * $0) }
    guard words.count == 5 else { return nil }
    (header, load, loadEnd, bssEnd, entry) = (words[0], words[1], words[2], words[3], words[4])
  }
}

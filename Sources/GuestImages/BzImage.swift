/// Why a kernel cannot be booted.
public enum LinuxImageError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The setup header's version is older than what the 64-bit entry needs.
  case protocolVersion(UInt16)
  /// The kernel has no 64-bit entry that may be used.
  case no64BitEntry
  /// It is not loaded high: a zImage.
  case loadedLow
  /// A number in the setup header cannot be.
  case malformed(field: String, value: UInt64)
  /// The file ends before what its header describes.
  case truncated(needed: UInt64, count: UInt64)
  /// The command line that belongs to the image does not suit.
  case commandLine(GuestArgumentsError)

  /// What is wrong and what to do, in sentences.
  public var description: String {
    switch self {
    case .protocolVersion(let version):
      """
      The kernel speaks version \(version >> 8).\(version & 0xFF) of the boot protocol. Use Linux 3.8 or newer \
      (version 2.12).
      """
    case .no64BitEntry: "The kernel has no 64-bit entry (XLF_KERNEL_64). Use one that is built for x86-64."
    case .loadedLow: "The kernel is a zImage, which is loaded low. Use a bzImage."
    case .malformed(let field, let value): "The kernel's \(field) cannot be \(value). Upload the kernel again."
    case .truncated(let needed, let count):
      "The kernel has \(count) bytes, and by its header \(needed) belong to it. Upload it again."
    case .commandLine(let error): "\(error)"
    }
  }
}

/// A compressed Linux kernel, by its setup header.
///
/// Source: Linux Documentation/arch/x86/boot.rst.
struct BzImage: Sendable, Equatable {
  /// The file.
  let part: ImagePart
  /// Bytes 0x1F1 to the header's end, for the zero page.
  let setupHeader: [UInt8]
  /// The boot protocol's version, such as 0x20F.
  let version: UInt16
  /// What follows the header and the real-mode code: what is loaded.
  let kernel: (offset: UInt64, count: UInt64)
  /// Where it is loaded: where it likes to be. Loaded lower, it would move itself there.
  let loadAddress: UInt64
  /// Bytes from the load address on that it needs before it looks at the memory map.
  let initSize: UInt64
  /// The last address that an initramfs may have.
  let initramfsLimit: UInt64
  /// The most bytes of a command line, without the NUL.
  let commandLineLimit: Int
  /// What the kernel calls itself, if it does.
  let release: String?

  static let magic = Array("HdrS".utf8)
  static let magicPlace: UInt64 = 0x202
  /// Where the 64-bit entry is in what is loaded.
  static let entryOffset: UInt64 = 0x200
  static let headerPlace = 0x1F1

  /// Nil when the bytes are no such kernel's.
  init?(_ part: ImagePart) throws(ImageError) {
    guard part.contains(offset: 0, count: 0x290) else { return nil }
    let sectors: [UInt8]
    do throws(ImageReadError) {
      guard try part.bytes(at: Self.magicPlace, count: Self.magic.count) == Self.magic else { return nil }
      sectors = try part.bytes(at: 0, count: 0x290)
    } catch { throw .unreadable(error) }
    do throws(LinuxImageError) {
      try self.init(part, firstBytes: sectors)
    } catch { throw .linux(error) }
  }

  private init(_ part: ImagePart, firstBytes: [UInt8]) throws(LinuxImageError) {
    /// All offsets are below the 0x290 bytes that there are.
    func field<Number: FixedWidthInteger & UnsignedInteger>(_ type: Number.Type, _ offset: Int) -> Number {
      firstBytes.littleEndian(type, at: offset) ?? 0
    }
    version = field(UInt16.self, 0x206)
    guard version >= 0x20C else { throw .protocolVersion(version) }
    guard field(UInt16.self, 0x236) & 1 != 0 else { throw .no64BitEntry }
    guard field(UInt8.self, 0x211) & 1 != 0 else { throw .loadedLow }

    // The header ends where the jump in front of its magic goes, and has grown with the versions: to 0x264 in 2.12.
    let end = 0x202 + Int(field(UInt8.self, 0x201))
    guard end >= 0x264, end <= 0x290 else { throw .malformed(field: "setup header's end", value: UInt64(end)) }
    setupHeader = Array(firstBytes[Self.headerPlace..<end])

    let setupSectors = field(UInt8.self, 0x1F1)
    let offset = (UInt64(setupSectors == 0 ? 4 : setupSectors) + 1) * 512
    // In units of 16 bytes. What follows, such as a signature, is not loaded.
    let count = UInt64(field(UInt32.self, 0x1F4)) * 16
    guard count > Self.entryOffset else { throw .malformed(field: "syssize", value: count / 16) }
    let present = part.count > offset ? part.count - offset : 0
    // The last unit may be cut short.
    guard present + 15 >= count else { throw .truncated(needed: offset + count, count: part.count) }
    kernel = (offset, min(count, present))

    loadAddress = field(UInt64.self, 0x258)
    guard loadAddress >= PCPlatform.highMemory, loadAddress < LongModeTables.mappedEnd else {
      throw .malformed(field: "pref_address", value: loadAddress)
    }
    initSize = max(UInt64(field(UInt32.self, 0x260)), kernel.count)
    initramfsLimit = UInt64(field(UInt32.self, 0x22C))
    commandLineLimit = Int(field(UInt32.self, 0x238))
    release = Self.release(of: part, at: UInt64(field(UInt16.self, 0x20E)) + 0x200)
    self.part = part
  }

  /// The kernel's version string, up to the first blank: that of the kernel, without who built it.
  private static func release(of part: ImagePart, at offset: UInt64) -> String? {
    guard offset > 0x200, let bytes = try? part.bytes(at: offset, count: 64) else { return nil }
    let word = bytes.prefix { $0 > 0x20 && $0 < 0x7F }
    return word.isEmpty ? nil : String(decoding: word, as: UTF8.self)
  }

  /// The first address that an initramfs can have.
  var end: UInt64 { loadAddress + initSize }

  static func == (left: BzImage, right: BzImage) -> Bool { left.part == right.part }
}

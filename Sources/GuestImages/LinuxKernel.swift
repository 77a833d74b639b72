import GuestMemory

/// Why a Linux kernel cannot be booted.
public enum LinuxError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The setup header's version is older than the 64-bit entry.
  case protocolVersion(UInt16)
  /// The kernel has no 64-bit entry.
  case no64BitEntry
  /// It is a zImage.
  case loadedLow
  /// A number in the setup header cannot be.
  case malformed(field: String, value: UInt64)
  /// The kernel cannot unpack the initramfs.
  case initramfs(String)
  /// The file ends before what belongs to the kernel by its header.
  case truncated(needed: UInt64, count: UInt64)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .protocolVersion(let version):
      """
      The kernel speaks version \(version >> 8).\(version & 0xFF) of the boot protocol. Use Linux 3.8 or newer \
      (version 2.12).
      """
    case .no64BitEntry: "The kernel has no 64-bit entry (XLF_KERNEL_64). Use one that is built for x86-64."
    case .initramfs(let problem): problem
    case .loadedLow: "The kernel is a zImage. Use a bzImage."
    case .malformed(let field, let value): "The kernel's \(field) cannot be \(value). Upload the kernel again."
    case .truncated(let needed, let count):
      "The kernel has \(count) bytes, and by its header \(needed) belong to it. Upload it again."
    }
  }
}

/// A Linux kernel with a 64-bit entry: the part that is loaded, and its header for boot loaders.
///
/// Source: Linux Documentation/arch/x86/boot.rst, version 2.15 of the protocol.
struct LinuxKernel: Sendable, Equatable {
  /// The file.
  let file: ImagePart
  /// What is loaded: ascending, disjoint.
  let segments: [LoadedSegment]
  /// The physical address of the 64-bit entry.
  let entry: UInt64
  /// Its setup header, from `setupHeaderPlace` on.
  let setupHeader: [UInt8]
  /// The last address that an initramfs may have.
  let initramfsLimit: UInt64
  /// The most bytes of a command line, without the NUL.
  let commandLineLimit: Int
  /// What else there is to say of it.
  let notes: [String: String]

  /// Where the setup header begins, in a bzImage and in the zero page.
  static let setupHeaderPlace = 0x1F1
  private static let magic = Array("HdrS".utf8)

  /// A bzImage; nil when it is none.
  init?(bzImage file: ImagePart) throws(ImageError) {
    let header: [UInt8]
    do throws(ImageReadError) {
      guard file.contains(offset: 0, count: 0x290) else { return nil }
      guard try file.bytes(at: 0x202, count: 4) == Self.magic else { return nil }
      header = try file.bytes(at: 0, count: 0x290)
    } catch { throw .unreadable(error) }
    do throws(LinuxError) {
      try self.init(file, header)
    } catch { throw .linux(error) }
  }

  private init(_ file: ImagePart, _ header: [UInt8]) throws(LinuxError) {
    /// All offsets are within the header.
    func field<Number: FixedWidthInteger & UnsignedInteger>(_ type: Number.Type, _ offset: Int) -> Number {
      header.littleEndian(type, at: offset) ?? 0
    }
    let version = field(UInt16.self, 0x206)
    guard version >= 0x20C else { throw .protocolVersion(version) }
    guard field(UInt16.self, 0x236) & 1 != 0 else { throw .no64BitEntry }
    guard field(UInt8.self, 0x211) & 1 != 0 else { throw .loadedLow }
    // The header ends where the jump in front of its magic goes; it has grown with the versions, to 0x264 in 2.12.
    let end = 0x202 + Int(field(UInt8.self, 0x201))
    guard end >= 0x264, end <= 0x290 else { throw .malformed(field: "setup header's end", value: UInt64(end)) }

    let sectors = field(UInt8.self, 0x1F1)
    let offset = (UInt64(sectors == 0 ? 4 : sectors) + 1) * 512
    // In units of 16 bytes, of which the last may be cut short. What follows, such as a signature, is not loaded.
    let count = UInt64(field(UInt32.self, 0x1F4)) * 16
    guard count > Self.entryOffset else { throw .malformed(field: "syssize", value: count / 16) }
    let present = file.count > offset ? file.count - offset : 0
    guard present + 15 >= count else { throw .truncated(needed: offset + count, count: file.count) }

    // Where it likes to be: loaded lower, it would move itself there.
    let address = field(UInt64.self, 0x258)
    guard address >= PCMemoryMap.highMemory, address < LongModeTables.mappedEnd else {
      throw .malformed(field: "pref_address", value: address)
    }
    self.file = file
    segments = [
      LoadedSegment(
        number: 0, address: address, offset: offset, fileBytes: min(count, present),
        // What it needs before it looks at the memory map.
        memoryBytes: max(UInt64(field(UInt32.self, 0x260)), count), access: "rwx")
    ]
    entry = address + Self.entryOffset
    setupHeader = Array(header[Self.setupHeaderPlace..<end])
    initramfsLimit = UInt64(field(UInt32.self, 0x22C))
    commandLineLimit = Int(field(UInt32.self, 0x238))
    var notes = ["format": "bzImage", "boot_protocol": "\(version >> 8).\(version & 0xFF)"]
    notes["version"] = Self.release(of: file, at: UInt64(field(UInt16.self, 0x20E)))
    self.notes = notes
  }

  /// Where the 64-bit entry is in what is loaded.
  private static let entryOffset: UInt64 = 0x200

  /// The kernel's version, without who built it and when; nil when it does not say.
  private static func release(of file: ImagePart, at offset: UInt64) -> String? {
    guard offset > 0, let bytes = try? file.bytes(at: offset + 0x200, count: 64) else { return nil }
    let word = bytes.prefix { $0 > 0x20 && $0 < 0x7F }
    return word.isEmpty ? nil : String(decoding: word, as: UTF8.self)
  }

  /// Whether it is an ELF file that says it is a Linux kernel: by a note of the owner `Linux` (since Linux 4.19,
  /// include/linux/build-salt.h), which no other executable has.
  static func isVmlinux(_ file: ImagePart) -> Bool {
    // What is wrong with an ELF file, its own kind's loader says.
    guard let elf = try? ELFFile(file), elf.is64Bit, let notes = try? elf.notes() else { return false }
    return notes.contains { $0.owner == "Linux" }
  }

  /// A vmlinux, which is an ELF file and starts at its entry; nil when it is none.
  init?(vmlinux file: ImagePart) throws(ImageError) {
    do throws(ELFDefect) {
      guard let elf = try ELFFile(file), elf.is64Bit else { return nil }
      let loaded = try elf.loadedExecutable(for: ELFFile.x86_64)
      segments = loaded.map(LoadedSegment.init)
      entry = try elf.physicalEntry(in: loaded)
    } catch { throw .elf(error) }
    self.file = file
    // It has no header of its own: this is what the kernels look at.
    var header = [UInt8](repeating: 0, count: 0x264 - Self.setupHeaderPlace)
    func put(_ bytes: [UInt8], at offset: Int) {
      header.replaceSubrange(offset - Self.setupHeaderPlace..<offset - Self.setupHeaderPlace + bytes.count, with: bytes)
    }
    put([0x55, 0xAA], at: 0x1FE)
    put(Self.magic, at: 0x202)
    put([UInt8](littleEndian: 0x20F as UInt16), at: 0x206)
    setupHeader = header
    initramfsLimit = 0x7FFF_FFFF
    commandLineLimit = 2047
    notes = ["format": "vmlinux"]
  }
}

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
  /// Its setup header.
  let setupHeader: [UInt8]
  /// The last address that an initramfs may have.
  let initramfsLimit: UInt64
  /// The most bytes of a command line, without the NUL.
  let commandLineLimit: Int
  /// What else there is to say of it.
  let notes: [String: String]

  /// Offsets in the setup header, counted from the beginning of the file and of the zero page, by the names of boot.rst.
  enum Offset {
    /// Where the header begins.
    static let setupSectors = 0x1F1
    static let systemSize = 0x1F4, bootFlag = 0x1FE, jumpLength = 0x201, magic = 0x202, version = 0x206
    static let kernelVersion = 0x20E, loaderType = 0x210, loadFlags = 0x211, initramfsAddress = 0x218
    static let initramfsSize = 0x21C, commandLine = 0x228, initramfsLimit = 0x22C, extendedLoadFlags = 0x236
    static let commandLineSize = 0x238, preferredAddress = 0x258, initSize = 0x260
    /// Where the header ends in version 2.12, and at most.
    static let shortestEnd = 0x264, longestEnd = 0x290
  }
  private static let loadedHigh: UInt8 = 1 << 0
  private static let has64BitEntry: UInt16 = 1 << 0
  private static let oldestVersion: UInt16 = 0x20C
  private static let sectorBytes: UInt64 = 512
  /// What a setup of 0 sectors means.
  private static let defaultSectors: UInt8 = 4
  private static let magic = Array("HdrS".utf8)

  /// A bzImage; nil when it is none.
  init?(bzImage file: ImagePart) throws(ImageError) {
    let header: [UInt8]
    do throws(ImageReadError) {
      guard file.contains(offset: 0, count: UInt64(Offset.longestEnd)) else { return nil }
      guard try file.bytes(at: UInt64(Offset.magic), count: 4) == Self.magic else { return nil }
      header = try file.bytes(at: 0, count: Offset.longestEnd)
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
    let version = field(UInt16.self, Offset.version)
    guard version >= Self.oldestVersion else { throw .protocolVersion(version) }
    guard field(UInt16.self, Offset.extendedLoadFlags) & Self.has64BitEntry != 0 else { throw .no64BitEntry }
    guard field(UInt8.self, Offset.loadFlags) & Self.loadedHigh != 0 else { throw .loadedLow }
    // The header ends where the jump in front of its magic goes; it has grown with the versions.
    let end = Offset.magic + Int(field(UInt8.self, Offset.jumpLength))
    guard end >= Offset.shortestEnd, end <= Offset.longestEnd else {
      throw .malformed(field: "setup header's end", value: UInt64(end))
    }

    let sectors = field(UInt8.self, Offset.setupSectors)
    let offset = (UInt64(sectors == 0 ? Self.defaultSectors : sectors) + 1) * Self.sectorBytes
    // In units of 16 bytes, of which the last may be cut short. What follows, such as a signature, is not loaded.
    let count = UInt64(field(UInt32.self, Offset.systemSize)) * 16
    guard count > Self.entryOffset else { throw .malformed(field: "syssize", value: count / 16) }
    let present = file.count > offset ? file.count - offset : 0
    guard present + 15 >= count else { throw .truncated(needed: offset + count, count: file.count) }

    // Where it likes to be: loaded lower, it would move itself there.
    let address = field(UInt64.self, Offset.preferredAddress)
    guard address >= PCMemoryMap.highMemory, address < LongModeTables.mappedEnd else {
      throw .malformed(field: "pref_address", value: address)
    }
    self.file = file
    segments = [
      LoadedSegment(
        number: 0, address: address, offset: offset, fileBytes: min(count, present),
        // What it needs before it looks at the memory map.
        memoryBytes: max(UInt64(field(UInt32.self, Offset.initSize)), count), access: "rwx")
    ]
    entry = address + Self.entryOffset
    setupHeader = Array(header[Offset.setupSectors..<end])
    initramfsLimit = UInt64(field(UInt32.self, Offset.initramfsLimit))
    commandLineLimit = Int(field(UInt32.self, Offset.commandLineSize))
    var notes = ["format": "bzImage", "boot_protocol": "\(version >> 8).\(version & 0xFF)"]
    notes["version"] = Self.release(of: file, at: UInt64(field(UInt16.self, Offset.kernelVersion)))
    self.notes = notes
  }

  /// Where the 64-bit entry is in what is loaded.
  private static let entryOffset: UInt64 = 0x200

  /// The kernel's version, without who built it and when; nil when it does not say.
  private static func release(of file: ImagePart, at offset: UInt64) -> String? {
    guard offset > 0, let bytes = try? file.bytes(at: offset + sectorBytes, count: 64) else { return nil }
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
    var header = [UInt8](repeating: 0, count: Offset.shortestEnd - Offset.setupSectors)
    func put(_ bytes: [UInt8], at offset: Int) {
      let start = offset - Offset.setupSectors
      header.replaceSubrange(start..<start + bytes.count, with: bytes)
    }
    put([0x55, 0xAA], at: Offset.bootFlag)
    put(Self.magic, at: Offset.magic)
    put([UInt8](littleEndian: 0x20F as UInt16), at: Offset.version)
    setupHeader = header
    initramfsLimit = 0x7FFF_FFFF
    commandLineLimit = 2047
    notes = ["format": "vmlinux"]
  }
}

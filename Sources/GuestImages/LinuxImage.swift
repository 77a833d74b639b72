/// A Linux kernel, the initramfs it starts with, and what it is told.
struct LinuxImage: Sendable, Equatable {
  /// What a kernel is told when nobody says anything: its console is the serial port, and where it panics it resets at
  /// once, so that the VM stops instead of sitting there.
  static let defaultCommandLine = "console=ttyS0 panic=-1"

  private let kernel: BzImage
  private let initramfs: ImagePart?
  private let commandLine: String

  // What the guest is given below 1 MiB, beside the page tables at 0x1000.
  private static let descriptorTable: UInt64 = 0x6000
  private static let zeroPage: UInt64 = 0x7000
  private static let commandLinePlace: UInt64 = 0x2_0000
  private static let commandLineRoom = 0x1_0000

  /// Nil when `parts` are no kernel.
  init?(_ parts: ImageParts) throws(ImageError) {
    guard let kernel = try BzImage(parts.main) else { return nil }
    guard parts.blocks.isEmpty else { throw .unusedPart("block device", .linux) }
    guard parts.flat == nil else { throw .unusedPart("mode", .linux) }
    self.kernel = kernel
    initramfs = parts.initramfs
    commandLine = parts.commandLine ?? Self.defaultCommandLine
    do throws(GuestArgumentsError) {
      _ = try commandLinePlace.segments(commandLine, "command line")
    } catch { throw .linux(.commandLine(error)) }
  }

  private var commandLinePlace: ArgumentPlaces.Text {
    ArgumentPlaces.Text(
      address: Self.commandLinePlace, capacity: min(kernel.commandLineLimit, Self.commandLineRoom - 1))
  }

  /// What it says of itself.
  var description: ImageDescription {
    var notes = ["boot_protocol": "\(kernel.version >> 8).\(kernel.version & 0xFF)", "command_line": commandLine]
    if let release = kernel.release { notes["version"] = release }
    if let initramfs { notes["initramfs_bytes"] = String(initramfs.count) }
    return ImageDescription(
      kind: .linux, sizeBytes: kernel.part.count + (initramfs?.count ?? 0), maxVCPUs: CPUStart.maxVCPUs, ring: 0,
      entry: nil,
      segments: [
        .init(
          address: kernel.loadAddress, fileBytes: kernel.kernel.count, memoryBytes: kernel.initSize, access: "rwx")
      ], notes: notes)
  }

  /// Lays it out: the kernel where it likes to be, the initramfs at the end of memory, the rest below 1 MiB.
  func layout(memoryBytes: UInt64, vcpus: Int) throws(GuestLayoutError) -> GuestLayout {
    guard vcpus >= 1 && vcpus <= CPUStart.maxVCPUs else { throw .vcpuCount(vcpus, limit: CPUStart.maxVCPUs) }
    let tooSmall = GuestLayoutError.memoryTooSmall(memoryBytes: memoryBytes, needed: leastMemory)
    guard kernel.end <= memoryBytes else { throw tooSmall }
    var segments = LongModeTables.segments
    var parameters = LinuxBootParameters(setupHeader: kernel.setupHeader)
    parameters.setMemory(MemoryRange.ofPC(memoryBytes: memoryBytes))
    parameters.setTables(ACPITables.address)
    parameters.setCommandLine(Self.commandLinePlace)
    parameters.setKernel(kernel.loadAddress)
    if let initramfs, initramfs.count > 0 {
      guard let address = place(initramfs, memoryBytes: memoryBytes) else {
        throw tooSmall
      }
      parameters.setInitramfs(address, count: initramfs.count)
      segments.append(GuestSegment(address: address, part: initramfs))
    }
    segments += [
      GuestSegment(address: Self.descriptorTable, bytes: Self.descriptors),
      GuestSegment(address: Self.zeroPage, bytes: parameters.bytes),
      GuestSegment(address: Self.commandLinePlace, bytes: Array(commandLine.utf8) + [0]),
      ACPITables.segment(vcpus: vcpus),
      GuestSegment(
        address: kernel.loadAddress, part: kernel.part, offset: kernel.kernel.offset, count: kernel.kernel.count),
    ]
    let starts = [start] + [CPUStart?](repeating: nil, count: vcpus - 1)
    return GuestLayout(
      segments: segments.sorted { $0.address < $1.address }, starts: starts, platform: .pc,
      arguments: ArgumentPlaces(commandLine: commandLinePlace))
  }

  /// The least memory it can be laid out in. No sum of these can overflow: the kernel's numbers have 32 bits.
  private var leastMemory: UInt64 { (kernel.end + min(initramfs?.count ?? 0, 1 << 40) + 0x1FFF) & ~0xFFF }

  /// As high as the memory and the kernel allow; nil when it would be in the kernel's place.
  private func place(_ initramfs: ImagePart, memoryBytes: UInt64) -> UInt64? {
    let end = min(memoryBytes, kernel.initramfsLimit + 1)
    guard initramfs.count <= end else { return nil }
    let address = (end - initramfs.count) & ~0xFFF
    return address >= kernel.end ? address : nil
  }

  /// The 64-bit entry: paging on, everything needed mapped to itself, RSI at the zero page, interrupts off.
  private var start: CPUStart {
    var start = CPUStart(
      mode: .long64, ring: 0, entry: kernel.loadAddress + BzImage.entryOffset, codeSegmentBase: 0,
      stackPointer: 0x9000, pageTableRoot: LongModeTables.root, firstArgument: 0, ioPrivilegeLevel: 0)
    start.rsi = Self.zeroPage
    start.codeSelector = 0x10
    start.dataSelector = 0x18
    start.descriptorTable = Self.descriptorTable
    start.descriptorTableLimit = UInt16(Self.descriptors.count - 1)
    return start
  }

  /// Flat segments of ring 0: 0x10 is 64-bit code, 0x18 data.
  private static let descriptors: [UInt8] = [0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF].flatMap {
    [UInt8](littleEndian: $0 as UInt64)
  }
}

/// The zero page: what the boot loader tells the kernel (`struct boot_params`).
///
/// Source: Linux Documentation/arch/x86/zero-page.rst and boot.rst.
struct LinuxBootParameters {
  private(set) var bytes = [UInt8](repeating: 0, count: 4096)

  /// The kernel's own header, and what every loader says: who it is (none that is registered), and that the protected
  /// mode code is loaded high.
  init(setupHeader: [UInt8]) {
    bytes.replaceSubrange(BzImage.headerPlace..<BzImage.headerPlace + setupHeader.count, with: setupHeader)
    bytes[0x210] = 0xFF
    bytes[0x211] |= 1
  }

  mutating func setMemory(_ ranges: [MemoryRange]) {
    bytes[0x1E8] = UInt8(ranges.count)
    for (index, range) in ranges.enumerated() {
      put(range.start, at: 0x2D0 + 20 * index)
      put(range.size, at: 0x2D8 + 20 * index)
      put(range.use.rawValue, at: 0x2E0 + 20 * index)
    }
  }

  /// Where the root of the ACPI tables is: kernels that do not know the field search for it.
  mutating func setTables(_ address: UInt64) { put(address, at: 0x070) }

  mutating func setCommandLine(_ address: UInt64) { put(UInt32(truncatingIfNeeded: address), at: 0x228) }

  mutating func setKernel(_ address: UInt64) { put(UInt32(truncatingIfNeeded: address), at: 0x214) }

  mutating func setInitramfs(_ address: UInt64, count: UInt64) {
    put(UInt32(truncatingIfNeeded: address), at: 0x218)
    put(UInt32(truncatingIfNeeded: count), at: 0x21C)
  }

  private mutating func put<Number: FixedWidthInteger & UnsignedInteger>(_ number: Number, at offset: Int) {
    bytes.replaceSubrange(offset..<offset + Number.bitWidth / 8, with: [UInt8](littleEndian: number))
  }
}

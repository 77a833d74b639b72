import GuestMemory
import Processor

/// A Linux kernel, its initramfs and its command line.
struct LinuxImage: Sendable, Equatable {
  /// The command line of an image that has none: the console is the serial port, and a panic resets at once, so that the VM
  /// stops instead of sitting there.
  static let defaultCommandLine = "console=ttyS0 panic=-1"

  private let kernel: LinuxKernel
  private let initramfs: ImagePart?
  private let sizeBytes: UInt64
  private let commandLine: [GuestSegment]
  private let arguments: ArgumentPlaces

  // What it is given below 1 MiB, beside the page tables at 0x1000.
  private static let descriptorTable: UInt64 = 0x6000
  private static let zeroPage: UInt64 = 0x7000
  private static let text = (address: UInt64(0x2_0000), room: 0x1_0000)

  /// Nil when `parts` are no kernel. An ELF file without a kernel's note is taken for one only where the client `insists`.
  init?(_ parts: ImageParts, insists: Bool) throws(ImageError) {
    if let kernel = try LinuxKernel(bzImage: parts.main) {
      self.kernel = kernel
    } else if insists || LinuxKernel.isVmlinux(parts.main), let kernel = try LinuxKernel(vmlinux: parts.main) {
      self.kernel = kernel
    } else {
      return nil
    }
    try parts.refuseUnused(by: .linux, takesModules: true)
    guard parts.modules.isEmpty else { throw .unusedPart("module", .linux) }
    if let initramfs = parts.initramfs, let problem = try InitramfsFormat.problem(with: initramfs) {
      throw .linux(.initramfs(problem))
    }
    initramfs = parts.initramfs
    sizeBytes = parts.sizeBytes
    arguments = ArgumentPlaces(
      commandLine: .init(address: Self.text.address, capacity: min(kernel.commandLineLimit, Self.text.room - 1)))
    commandLine = try arguments.placed(parts.commandLine ?? Self.defaultCommandLine)
  }

  /// Its description for clients.
  var description: ImageDescription {
    ImageDescription(
      kind: .linux, sizeBytes: sizeBytes, maxVCPUs: CPUStart.maxVCPUs, ring: 0,
      entry: kernel.entry, segments: kernel.segments.map(\.description), notes: kernel.notes)
  }

  /// The least memory that it fits into. It runs in it as well, if it needs no more for itself.
  var minimumMemory: MinimumMemory { .booted(kernel.segments, initramfs.map { [ImageModule($0)] } ?? []) }

  /// Lays it out: the kernel where it likes to be, the initramfs at the end of memory, all else below 1 MiB. The first
  /// vCPU starts the others.
  func layout(memoryBytes: UInt64, vcpus: Int) throws(GuestLayoutError) -> GuestLayout {
    guard vcpus >= 1 && vcpus <= CPUStart.maxVCPUs else { throw .vcpuCount(vcpus, limit: CPUStart.maxVCPUs) }
    try minimumMemory.check(memoryBytes, reach: LongModeTables.mappedEnd)
    var segments = LongModeTables.segments + commandLine
    segments.append(GuestSegment(address: Self.descriptorTable, bytes: Self.descriptors))
    do throws(PlacementError) {
      segments += try kernel.segments.placed(
        kernel.file, reach: LongModeTables.mappedEnd, reserved: [0..<PCMemoryMap.highMemory])
      var zeroPage = LinuxZeroPage(
        setupHeader: kernel.setupHeader, commandLine: Self.text.address, memoryBytes: memoryBytes)
      if let initramfs {
        let placed = try PlacedModules(
          [ImageModule(initramfs)], above: kernel.segments,
          memoryEnd: min(memoryBytes, kernel.initramfsLimit + 1, PCMemoryMap.holeStart))
        zeroPage.setInitramfs(placed.modules[0].start, count: initramfs.count)
        segments += placed.segments
      }
      segments.append(GuestSegment(address: Self.zeroPage, bytes: zeroPage.bytes))
    } catch { throw .placement(error) }
    return GuestLayout(
      segments: segments.filter { $0.count > 0 }.sorted { $0.address < $1.address },
      starts: [start] + [CPUStart?](repeating: nil, count: vcpus - 1), platform: .pc, arguments: arguments)
  }

  /// The 64-bit entry: everything that is needed mapped to itself, RSI at the zero page, interrupts off.
  private var start: CPUStart {
    var start = CPUStart.long64(entry: kernel.entry, vcpu: 0)
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

/// The zero page, in which a boot loader passes its information to the kernel (`struct boot_params`).
///
/// Source: Linux Documentation/arch/x86/zero-page.rst and boot.rst.
struct LinuxZeroPage {
  private(set) var bytes = [UInt8](repeating: 0, count: 4096)

  /// Offsets outside of the setup header, and in an entry of the memory map (struct boot_e820_entry).
  private enum Offset { static let rootPointer = 0x70, memoryRanges = 0x1E8, memoryMap = 0x2D0 }
  private enum MapEntry { static let start = 0, size = 8, type = 16, bytes = 20 }
  /// A loader without a number of its own.
  private static let unknownLoader: UInt8 = 0xFF
  private static let loadedHigh: UInt8 = 1 << 0

  /// Begins with the kernel's own header. Adds a loader without a number, which loaded it high. Adds where the command line and
  /// the ACPI tables are, and what memory there is beyond 1 MiB.
  init(setupHeader: [UInt8], commandLine: UInt64, memoryBytes: UInt64) {
    let start = LinuxKernel.Offset.setupSectors
    bytes.replaceSubrange(start..<start + setupHeader.count, with: setupHeader)
    bytes[LinuxKernel.Offset.loaderType] = Self.unknownLoader
    bytes[LinuxKernel.Offset.loadFlags] |= Self.loadedHigh
    put(UInt32(truncatingIfNeeded: commandLine), at: LinuxKernel.Offset.commandLine)
    put(PCMemoryMap.tables.lowerBound, at: Offset.rootPointer)
    let ranges = MemoryRange.ofPC(memoryBytes: memoryBytes)
    bytes[Offset.memoryRanges] = UInt8(ranges.count)
    for (index, range) in ranges.enumerated() {
      let entry = Offset.memoryMap + MapEntry.bytes * index
      put(range.start, at: entry + MapEntry.start)
      put(range.size, at: entry + MapEntry.size)
      put(range.use.rawValue, at: entry + MapEntry.type)
    }
  }

  mutating func setInitramfs(_ address: UInt64, count: UInt64) {
    put(UInt32(truncatingIfNeeded: address), at: LinuxKernel.Offset.initramfsAddress)
    put(UInt32(truncatingIfNeeded: count), at: LinuxKernel.Offset.initramfsSize)
  }

  private mutating func put(_ number: some FixedWidthInteger & UnsignedInteger, at offset: Int) {
    bytes.replaceSubrange(offset..<offset + number.bitWidth / 8, with: [UInt8](littleEndian: number))
  }
}

import Processor

/// A static ELF file that starts by itself: at its PVH entry where a note names one, else in 64-bit mode at the file's entry,
/// with memory mapped to itself.
struct ELFImage: Sendable, Equatable {
  private let file: ImagePart
  private let sizeBytes: UInt64
  private let segments: [LoadedSegment]
  /// Physical.
  private let entry: UInt64
  /// The start at a PVH entry; nil where there is none.
  private let pvh: PVHStart?

  // The note that names a PVH entry (xen/include/public/elfnote.h: XEN_ELFNOTE_PHYS32_ENTRY).
  private static let pvhNoteName = (owner: "Xen", type: UInt32(18))

  /// Nil where it is no ELF file.
  init?(_ parts: ImageParts) throws(ImageError) {
    let hasPVHEntry: Bool
    do throws(ELFDefect) {
      guard let elf = try ELFFile(parts.main) else { return nil }
      let note = try Self.pvhNote(of: elf)
      // A PVH kernel starts in 32-bit mode, in files of either class.
      guard elf.is64Bit || note != nil else { throw .not64Bit }
      let loaded = try elf.loadedExecutable(for: elf.is64Bit ? ELFFile.x86_64 : ELFFile.i386)
      let pvhEntry = try note.map { note throws(ELFDefect) in try Self.pvhEntry(note, loaded) }
      hasPVHEntry = pvhEntry != nil
      entry = if let pvhEntry { pvhEntry } else { try elf.physicalEntry(in: loaded) }
      segments = loaded.map(LoadedSegment.init)
    } catch { throw .elf(error) }
    file = parts.main
    pvh = try hasPVHEntry ? PVHStart(modules: parts.allModules, commandLine: parts.commandLine) : nil
    sizeBytes = parts.sizeBytes
    try parts.refuseUnused(by: .elf, takesModules: hasPVHEntry)
  }

  /// What the note that names a PVH entry says; nil where there is none.
  static func pvhNote(of elf: ELFFile) throws(ELFDefect) -> [UInt8]? {
    try elf.notes().first { ($0.owner, $0.type) == pvhNoteName }?.descriptor
  }

  private static func pvhEntry(_ note: [UInt8], _ loaded: [ELFFile.Segment]) throws(ELFDefect) -> UInt64 {
    let entry: UInt64? =
      switch note.count {
      case 4: note.littleEndian(UInt32.self, at: 0).map(UInt64.init)
      case 8: note.littleEndian(UInt64.self, at: 0)
      default: nil
      }
    guard let entry, entry <= UInt32.max else { throw .pvhEntry }
    guard loaded.contains(where: { entry >= $0.physicalAddress && entry - $0.physicalAddress < $0.memoryBytes })
    else { throw .pvhEntryOutsideSegments(entry) }
    return entry
  }

  /// Its description for clients.
  var description: ImageDescription {
    ImageDescription(
      kind: .elf, sizeBytes: sizeBytes, maxVCPUs: maxVCPUs, ring: 0,
      entry: entry, segments: segments.map(\.description), notes: ["start": pvh == nil ? "64-bit" : "PVH"])
  }

  /// The least memory that it fits into.
  var minimumMemory: MinimumMemory { .booted(segments, pvh?.modules ?? []) }

  private var maxVCPUs: Int { pvh == nil ? CPUStart.maxVCPUsAtOnce : CPUStart.maxVCPUs }

  /// What a VM of it has around its memory and its vCPUs.
  var platform: Platform { pvh == nil ? .minimal : .pc }

  /// Lays it out.
  func layout(memoryBytes: UInt64, vcpus: Int) throws(GuestLayoutError) -> GuestLayout {
    try minimumMemory.check(
      memoryBytes, reach: pvh == nil ? LongModeTables.mappedEnd : BootInformation.mostMemory)
    guard vcpus >= 1 && vcpus <= maxVCPUs else { throw .vcpuCount(vcpus, limit: maxVCPUs) }
    do throws(PlacementError) {
      if let pvh {
        return try pvh.layout(file, segments, entry: entry, memoryBytes: memoryBytes, vcpus: vcpus)
      }
      let placed = try segments.placed(
        file, reach: LongModeTables.mappedEnd, reserved: [0..<LongModeTables.reservedEnd])
      let starts = (0..<vcpus).map { CPUStart.long64(entry: entry, vcpu: $0) }
      return GuestLayout(segments: LongModeTables.segments + placed, starts: starts, platform: .minimal)
    } catch { throw .placement(error) }
  }
}

extension ELFFile {
  /// The segments to load of an executable for `machine` that needs no linking.
  func loadedExecutable(for machine: UInt16) throws(ELFDefect) -> [Segment] {
    guard self.machine == machine else { throw .machine(self.machine, expected: machine) }
    for segment in segments {
      switch segment.type {
      case Segment.interpreter where segment.fileBytes > 0: throw .interpreter(segment.number)
      case Segment.dynamic: throw .dynamic(segment.number)
      default: break
      }
    }
    guard type == Self.executable else { throw .type(type) }
    return try loaded()
  }
}

extension ImageParts {
  /// Refuses parts that a kernel of this kind has no use for, and modules that cannot be passed to one.
  func refuseUnused(by kind: GuestKind, takesModules: Bool) throws(ImageError) {
    guard takesModules || initramfs == nil else { throw .unusedPart("initramfs", kind) }
    guard takesModules || modules.isEmpty else { throw .unusedPart("module", kind) }
    guard modules.count <= PlacedModules.limit else { throw .tooManyModules(modules.count, limit: PlacedModules.limit) }
    for (index, module) in modules.enumerated() {
      let bytes = Array((module.text ?? "").utf8)
      guard bytes.count <= PlacedModules.textLimit else {
        throw .moduleText(module: index, bytes: bytes.count, limit: PlacedModules.textLimit)
      }
      guard !bytes.contains(0) else { throw .moduleTextNUL(module: index) }
    }
    guard takesModules || commandLine == nil else { throw .unusedPart("command line", kind) }
    guard blocks.isEmpty else { throw .unusedPart("block device", kind) }
    guard flat == nil else { throw .unusedPart("mode", kind) }
  }
}

extension CPUStart {
  /// 64-bit mode in ring 0 at `entry`, with a stack of its own and the vCPU's number in RDI.
  static func long64(entry: UInt64, vcpu: Int) -> CPUStart {
    CPUStart(
      mode: .long64, ring: 0, entry: entry, codeSegmentBase: 0, stackPointer: 0x8000 + (UInt64(vcpu) + 1) * 0x1000,
      pageTableRoot: LongModeTables.root, firstArgument: UInt64(vcpu), ioPrivilegeLevel: 0)
  }

  /// 32-bit protected mode without paging, in ring 0 at `entry`, with flat segments and a stack below `stackTop`.
  static func prot32(entry: UInt64, stackTop: UInt64) -> CPUStart {
    CPUStart(
      mode: .prot32, ring: 0, entry: entry, codeSegmentBase: 0, stackPointer: stackTop, pageTableRoot: 0,
      firstArgument: 0, ioPrivilegeLevel: 0)
  }
}

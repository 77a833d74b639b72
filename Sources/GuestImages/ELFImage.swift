/// A static ELF file for x86-64 that starts by itself: at its PVH entry where a note names one, else in 64-bit mode at
/// the file's entry, with memory mapped to itself.
struct ELFImage: Sendable, Equatable {
  private let file: ImagePart
  private let segments: [LoadedSegment]
  /// Physical.
  private let entry: UInt64
  /// What is told at a PVH entry; nil where there is none.
  private let pvh: PVHStart?

  // The note that names a PVH entry (xen/include/public/elfnote.h: XEN_ELFNOTE_PHYS32_ENTRY).
  private static let pvhNote = (owner: "Xen", type: UInt32(18))

  /// Nil where it is no ELF file.
  init?(_ parts: ImageParts) throws(ImageError) {
    let hasPVHEntry: Bool
    do throws(ELFDefect) {
      guard let elf = try ELFFile(parts.main) else { return nil }
      guard elf.is64Bit else { throw .not64Bit }
      let loaded = try elf.loadedExecutable(for: ELFFile.x86_64)
      for segment in loaded where segment.isWritable && segment.isExecutable { throw .writableCode(segment.number) }
      let pvhEntry = try Self.pvhEntry(of: elf, loaded)
      hasPVHEntry = pvhEntry != nil
      entry = if let pvhEntry { pvhEntry } else { try elf.physicalEntry(in: loaded) }
      segments = loaded.map(LoadedSegment.init)
    } catch { throw .elf(error) }
    file = parts.main
    pvh = hasPVHEntry ? PVHStart(initramfs: parts.initramfs, commandLine: parts.commandLine) : nil
    try parts.refuseUnused(by: .elf, takesModules: hasPVHEntry)
  }

  private static func pvhEntry(of elf: ELFFile, _ loaded: [ELFFile.Segment]) throws(ELFDefect) -> UInt64? {
    let notes = try elf.notes()
    guard let note = notes.first(where: { ($0.owner, $0.type) == pvhNote })?.descriptor else { return nil }
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

  /// What it says of itself.
  var description: ImageDescription {
    ImageDescription(
      kind: .elf, sizeBytes: file.count + (pvh?.initramfs?.count ?? 0), maxVCPUs: CPUStart.maxVCPUs, ring: 0,
      entry: entry, segments: segments.map(\.description), notes: ["start": pvh == nil ? "64-bit" : "PVH"])
  }

  func layout(memoryBytes: UInt64, vcpus: Int) throws(GuestLayoutError) -> GuestLayout {
    guard memoryBytes >= 1 << 20 else { throw .memoryTooSmall(memoryBytes: memoryBytes, needed: 1 << 20) }
    guard vcpus >= 1 && vcpus <= CPUStart.maxVCPUs else { throw .vcpuCount(vcpus, limit: CPUStart.maxVCPUs) }
    do throws(PlacementError) {
      if let pvh {
        return try pvh.layout(file, segments, entry: entry, memoryBytes: memoryBytes, vcpus: vcpus)
      }
      let placed = try segments.placed(
        file, memoryBytes: min(memoryBytes, LongModeTables.mappedEnd), reserved: [0..<LongModeTables.reservedEnd])
      let starts = (0..<vcpus).map { CPUStart.long64(entry: entry, vcpu: $0) }
      return GuestLayout(segments: LongModeTables.segments + placed, starts: starts, platform: .minimal)
    } catch { throw .placement(error) }
  }
}

extension ELFFile {
  /// What is `loaded` of an executable for `machine` that needs no linking.
  func loadedExecutable(for machine: UInt16) throws(ELFDefect) -> [Segment] {
    guard self.machine == machine else { throw .machine(self.machine, expected: machine) }
    for segment in segments {
      switch segment.type {
      case Segment.interpreter: throw .interpreter(segment.number)
      case Segment.dynamic: throw .dynamic(segment.number)
      default: break
      }
    }
    guard type == Self.executable else { throw .type(type) }
    return try loaded()
  }
}

extension ImageParts {
  /// Refuses what a kernel of this kind has no use for.
  func refuseUnused(by kind: GuestKind, takesModules: Bool) throws(ImageError) {
    guard takesModules || initramfs == nil else { throw .unusedPart("initramfs", kind) }
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

  /// 32-bit protected mode without paging, in ring 0 at `entry`, with flat segments and a stack.
  static func prot32(entry: UInt64) -> CPUStart {
    CPUStart(
      mode: .prot32, ring: 0, entry: entry, codeSegmentBase: 0, stackPointer: BootInformation.place.upperBound,
      pageTableRoot: 0, firstArgument: 0, ioPrivilegeLevel: 0)
  }
}

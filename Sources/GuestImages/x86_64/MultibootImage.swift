import GuestMemory
import Processor

/// A kernel that a Multiboot boot loader (version 1) can start: an ELF file, or any file whose header gives its addresses.
struct MultibootImage: Sendable, Equatable {
  private let file: ImagePart
  private let sizeBytes: UInt64
  private let program: Program
  private let information: MultibootInformation

  /// What is loaded, and where it starts.
  private struct Program: Equatable {
    let segments: [LoadedSegment]
    let entry: UInt64
  }

  /// Nil where it is not for such a boot loader: it has no header, or it is an ELF file of 64 bits whose PVH note is to be
  /// preferred.
  init?(_ parts: ImageParts) throws(ImageError) {
    file = parts.main
    guard let program = try Self.program(in: parts.main) else { return nil }
    self.program = program
    information = try MultibootInformation(modules: parts.allModules, commandLine: parts.commandLine)
    sizeBytes = parts.sizeBytes
    try parts.refuseUnused(by: .multiboot, takesModules: true)
  }

  private static func program(in file: ImagePart) throws(ImageError) -> Program? {
    let header: MultibootHeader?
    do throws(ImageReadError) {
      header = try MultibootHeader(file)
    } catch { throw .unreadable(error) }
    guard let header else { return nil }
    let elf: ELFFile?
    do throws(ELFDefect) {
      elf = header.addresses == nil ? try ELFFile(file) : nil
    } catch { throw .elf(error) }
    do throws(ELFDefect) {
      if let elf, elf.is64Bit, try ELFImage.pvhNote(of: elf) != nil { return nil }
    } catch { throw .elf(error) }
    // Bits 0 and 1 want aligned modules and a memory map; a kernel that sets another of the low 16 cannot do without
    // what it stands for.
    guard header.flags & 0xFFFC == 0 else { throw .multiboot(.needs(flags: header.flags & 0xFFFC)) }
    do throws(MultibootError) {
      if let addresses = header.addresses { return try program(in: file, at: header.offset, addresses) }
    } catch { throw .multiboot(error) }
    guard let elf else { throw .multiboot(.noAddresses) }
    do throws(ELFDefect) {
      // Such a loader starts files of 64 bits too, in 32-bit mode at their physical addresses.
      let loaded = try elf.loadedExecutable(for: elf.is64Bit ? ELFFile.x86_64 : ELFFile.i386)
      return Program(segments: loaded.map(LoadedSegment.init), entry: try elf.physicalEntry(in: loaded))
    } catch { throw .elf(error) }
  }

  /// One segment, from the byte that belongs at the load address on.
  private static func program(
    in file: ImagePart, at headerOffset: UInt32, _ addresses: MultibootError.Addresses
  ) throws(MultibootError) -> Program {
    let load = UInt64(addresses.load)
    let ahead = UInt64(addresses.header).subtractingReportingOverflow(load)
    let start = UInt64(headerOffset).subtractingReportingOverflow(ahead.partialValue)
    guard !ahead.overflow, !start.overflow, start.partialValue < file.count else { throw .addresses(addresses) }
    let offset = start.partialValue
    // Both sums stay far below 2^64: addresses have 32 bits, and so has what is loaded.
    let fileEnd = load + min(file.count - offset, UInt64(UInt32.max))
    let loadEnd = addresses.loadEnd == 0 ? fileEnd : UInt64(addresses.loadEnd)
    let end = addresses.bssEnd == 0 ? loadEnd : UInt64(addresses.bssEnd)
    guard load < loadEnd, loadEnd <= fileEnd, loadEnd <= end else { throw .addresses(addresses) }
    guard load <= addresses.entry, addresses.entry < loadEnd else { throw .entryOutside(addresses.entry) }
    let segment = LoadedSegment(
      number: 0, address: load, offset: offset, fileBytes: loadEnd - load, memoryBytes: end - load, access: "rwx")
    return Program(segments: [segment], entry: UInt64(addresses.entry))
  }

  /// Its description for clients.
  var description: ImageDescription {
    ImageDescription(
      kind: .multiboot, sizeBytes: sizeBytes, maxVCPUs: CPUStart.maxVCPUs, ring: 0,
      entry: program.entry, segments: program.segments.map(\.description), notes: ["start": "Multiboot"])
  }

  /// The least memory that it fits into.
  var minimumMemory: MinimumMemory { .booted(program.segments, information.modules) }

  /// Lays it out. The first vCPU starts the others.
  func layout(memoryBytes: UInt64, vcpus: Int) throws(GuestLayoutError) -> GuestLayout {
    try minimumMemory.check(memoryBytes, reach: BootInformation.mostMemory)
    guard vcpus >= 1 && vcpus <= CPUStart.maxVCPUs else { throw .vcpuCount(vcpus, limit: CPUStart.maxVCPUs) }
    do throws(PlacementError) {
      let placed = try program.segments.placed(
        file, reach: BootInformation.mostMemory, reserved: [BootInformation.multiboot, PCMemoryMap.tables])
      let beside = try information.segments(above: program.segments, memoryBytes: memoryBytes)
      var start = CPUStart.prot32(entry: program.entry, stackTop: MultibootInformation.stackTop)
      start.rax = MultibootInformation.magic
      start.rbx = MultibootInformation.address
      return GuestLayout(
        segments: (placed + beside).sorted { $0.address < $1.address },
        starts: [start] + [CPUStart?](repeating: nil, count: vcpus - 1), platform: .pc,
        arguments: information.arguments)
    } catch { throw .placement(error) }
  }
}

/// What a kernel is told that starts at its PVH entry: in 32-bit protected mode, EBX pointing to `hvm_start_info`.
///
/// Source: Xen's docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h, version 1.
struct PVHStart: Sendable, Equatable {
  /// Given to it as its first module.
  let initramfs: ImagePart?
  let commandLine: String?

  // Where the parts of it are.
  private static let info = BootInformation.place.lowerBound
  private static let modules = info + 0x100
  private static let memoryMap = info + 0x200
  private static let text = ArgumentPlaces.Text(address: info + 0x1000, capacity: 0xFFF)

  private static let magic: UInt32 = 0x336E_C578

  /// Lays out the kernel. The first vCPU starts the others, of which the ACPI tables tell.
  func layout(
    _ file: ImagePart, _ segments: [LoadedSegment], entry: UInt64, memoryBytes: UInt64, vcpus: Int
  ) throws(PlacementError) -> GuestLayout {
    let memoryBytes = min(memoryBytes, BootInformation.mostMemory)
    var all = try segments.placed(file, memoryBytes: memoryBytes, reserved: BootInformation.reserved)
    let map = MemoryRange.ofPC(memoryBytes: memoryBytes)
    all += [
      GuestSegment(address: Self.info, bytes: info(mapEntries: map.count)),
      GuestSegment(address: Self.memoryMap, bytes: map.flatMap(\.pvhEntry)), ACPITables.segment(vcpus: vcpus),
    ]
    if let initramfs {
      let address = try segments.place(of: initramfs, memoryBytes: memoryBytes)
      let module = [address, initramfs.count, 0, 0]
      all.append(GuestSegment(address: Self.modules, bytes: module.flatMap { [UInt8](littleEndian: $0) }))
      all.append(GuestSegment(address: address, part: initramfs))
    }
    let arguments = ArgumentPlaces(commandLine: Self.text)
    all += try arguments.placed(commandLine)
    var start = CPUStart.prot32(entry: entry)
    start.rbx = Self.info
    return GuestLayout(
      segments: all.sorted { $0.address < $1.address },
      starts: [start] + [CPUStart?](repeating: nil, count: vcpus - 1), platform: .pc, arguments: arguments)
  }

  private func info(mapEntries: Int) -> [UInt8] {
    let numbers: [UInt32] = [Self.magic, 1, 0, initramfs == nil ? 0 : 1]
    let addresses = [
      initramfs == nil ? 0 : Self.modules, Self.text.address, ACPITables.address, Self.memoryMap,
    ]
    let counts: [UInt32] = [UInt32(mapEntries), 0]
    return numbers.flatMap { [UInt8](littleEndian: $0) } + addresses.flatMap { [UInt8](littleEndian: $0) }
      + counts.flatMap { [UInt8](littleEndian: $0) }
  }
}

extension MemoryRange {
  fileprivate var pvhEntry: [UInt8] {
    [start, size, UInt64(use.rawValue)].flatMap { [UInt8](littleEndian: $0) }
  }
}

extension ArgumentPlaces {
  /// The image's own command line, where it has one; else there is an empty one, since memory is zero.
  func placed(_ commandLine: String?) throws(PlacementError) -> [GuestSegment] {
    do throws(GuestArgumentsError) {
      return try segments(for: GuestArguments(commandLine: commandLine))
    } catch { throw .commandLine(error) }
  }
}

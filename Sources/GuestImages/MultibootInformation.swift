/// What a Multiboot kernel is told: EAX says that it was loaded so, EBX points here.
///
/// Source: Multiboot Specification 0.6.96, section 3.3.
struct MultibootInformation: Sendable, Equatable {
  /// Given to it as its first module.
  let initramfs: ImagePart?
  let commandLine: String?

  /// In EAX at start.
  static let magic: UInt64 = 0x2BAD_B002
  /// In EBX at start.
  static let address = BootInformation.place.lowerBound

  // Where the parts of it are.
  private static let memoryMap = address + 0x100
  private static let modules = address + 0x200
  private static let loaderName = address + 0x300
  private static let text = address + 0x1000
  private static let environment = address + 0x4000

  /// The first word of what a kernel is told is its own name: boot loaders put it there, and kernels skip it.
  private static let name = Array("kernel ".utf8)

  /// The command line follows the kernel's name. The environment is a module, the last one, and only there when it is
  /// told: as kvm-unit-tests know it.
  var arguments: ArgumentPlaces {
    let entry = Self.modules + UInt64(16 * count)
    let end = ArgumentPlaces.Length(address: entry + 4, base: UInt32(Self.environment))
    return ArgumentPlaces(
      commandLine: .init(address: Self.text + UInt64(Self.name.count), capacity: 0xFFF - Self.name.count),
      environment: .init(
        address: Self.environment, capacity: 0x3FFF, length: end,
        besides: [
          GuestSegment(address: entry, bytes: [UInt8](littleEndian: UInt32(Self.environment))),
          GuestSegment(address: Self.address + 20, bytes: [UInt8](littleEndian: UInt32(count + 1))),
        ]))
  }

  /// How many modules there are without the environment.
  private var count: Int { initramfs == nil ? 0 : 1 }

  /// What to put into a VM's memory beside the kernel.
  func segments(above kernel: [LoadedSegment], memoryBytes: UInt64) throws(PlacementError) -> [GuestSegment] {
    let map = MemoryRange.ofPC(memoryBytes: memoryBytes).flatMap(\.multibootEntry)
    var segments = [
      GuestSegment(address: Self.address, bytes: header(mapBytes: map.count, memoryBytes: memoryBytes)),
      GuestSegment(address: Self.memoryMap, bytes: map),
      GuestSegment(address: Self.loaderName, bytes: Array("vmpool".utf8) + [0]),
      GuestSegment(address: Self.text, bytes: Self.name),
    ]
    segments += try arguments.placed(commandLine)
    guard let initramfs else { return segments }
    let start = try kernel.place(of: initramfs, memoryBytes: memoryBytes)
    let ends = [start, start + initramfs.count].map { UInt32(truncatingIfNeeded: $0) }
    segments.append(GuestSegment(address: Self.modules, bytes: ends.flatMap { [UInt8](littleEndian: $0) }))
    if initramfs.count > 0 { segments.append(GuestSegment(address: start, part: initramfs)) }
    return segments
  }

  private func header(mapBytes: Int, memoryBytes: UInt64) -> [UInt8] {
    var words = [UInt32](repeating: 0, count: 30)
    // Memory sizes, command line, modules, memory map, loader's name.
    words[0] = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9
    words[1] = UInt32(PCPlatform.lowMemoryEnd >> 10)
    words[2] = UInt32((memoryBytes - PCPlatform.highMemory) >> 10)
    words[4] = UInt32(Self.text)
    words[5] = UInt32(count)
    words[6] = UInt32(Self.modules)
    words[11] = UInt32(mapBytes)
    words[12] = UInt32(Self.memoryMap)
    words[16] = UInt32(Self.loaderName)
    return words.flatMap { [UInt8](littleEndian: $0) }
  }
}

extension MemoryRange {
  /// Its size comes first and does not count itself.
  fileprivate var multibootEntry: [UInt8] {
    [UInt8](littleEndian: UInt32(20)) + [UInt8](littleEndian: start) + [UInt8](littleEndian: size)
      + [UInt8](littleEndian: use.rawValue)
  }
}

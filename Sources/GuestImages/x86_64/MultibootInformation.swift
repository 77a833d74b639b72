import GuestMemory

/// The information of a Multiboot boot loader. EAX at the start says that the kernel was loaded by one, EBX points here.
///
/// Source: Multiboot Specification 0.6.96, section 3.3.
struct MultibootInformation: Sendable, Equatable {
  let modules: [ImageModule]
  private let commandLine: [GuestSegment]

  /// In EAX at start.
  static let magic: UInt64 = 0x2BAD_B002

  // Places of its parts. The memory map and the structure are where QEMU has them.
  private static let memoryMap = BootInformation.multiboot.lowerBound
  /// In EBX at start.
  static let address = memoryMap + 0x500
  private static let loaderName = memoryMap + 0x600
  private static let moduleTable = memoryMap + 0x700
  private static let text = memoryMap + 0x1000
  private static let environment = memoryMap + 0x2000
  /// The first address after the stack.
  static let stackTop = BootInformation.multiboot.upperBound

  private static let textRoom: UInt64 = environment - text
  private static let environmentRoom: UInt64 = 0x4000
  private static let moduleEntryBytes: UInt64 = 16

  /// Offsets in the structure, in words of 4 bytes, and the bits of its flags.
  private enum Word {
    static let count = 30
    static let flags = 0, lowerKiB = 1, upperKiB = 2, commandLine = 4, moduleCount = 5, modules = 6, mapBytes = 11
    static let map = 12, loaderName = 16
  }
  private enum Flag {
    static let memory: UInt32 = 1 << 0, commandLine: UInt32 = 1 << 2, modules: UInt32 = 1 << 3, map: UInt32 = 1 << 6
    static let loaderName: UInt32 = 1 << 9
  }

  /// The first word of a command line is the kernel's own name: boot loaders put it there, and kernels skip it.
  private static let name = Array("kernel ".utf8)

  private static let commandLine = ArgumentPlaces.Text(
    address: text + UInt64(name.count), capacity: Int(textRoom) - 1 - name.count)

  /// Information with `modules` and the image's own command line.
  init(modules: [ImageModule], commandLine: String?) throws(ImageError) {
    self.modules = modules
    self.commandLine = try ArgumentPlaces(commandLine: Self.commandLine).placed(commandLine)
  }

  /// The command line follows the kernel's name. The environment is the last module, and only there when one is given: as
  /// kvm-unit-tests expect it.
  var arguments: ArgumentPlaces {
    let entry = Self.moduleTable + Self.moduleEntryBytes * UInt64(modules.count)
    let end = ArgumentPlaces.Length(address: entry + 4, base: UInt32(Self.environment))
    return ArgumentPlaces(
      commandLine: Self.commandLine,
      environment: .init(
        address: Self.environment, capacity: Int(Self.environmentRoom) - 1, length: end,
        besides: [
          GuestSegment(address: entry, bytes: [UInt8](littleEndian: UInt32(Self.environment))),
          GuestSegment(
            address: Self.address + 4 * UInt64(Word.moduleCount),
            bytes: [UInt8](littleEndian: UInt32(modules.count + 1))),
        ]))
  }

  /// What to put into a VM's memory beside the kernel.
  func segments(above kernel: [LoadedSegment], memoryBytes: UInt64) throws(PlacementError) -> [GuestSegment] {
    let memoryEnd = min(memoryBytes, BootInformation.mostMemory)
    let map = MemoryRange.ofPC(memoryBytes: memoryBytes).flatMap(\.multibootEntry)
    var segments = [
      GuestSegment(address: Self.memoryMap, bytes: map),
      GuestSegment(address: Self.address, bytes: header(mapBytes: map.count, memoryEnd: memoryEnd)),
      GuestSegment(address: Self.loaderName, bytes: Array("vmpool".utf8) + [0]),
      GuestSegment(address: Self.text, bytes: Self.name),
    ]
    segments += commandLine
    guard !modules.isEmpty else { return segments }
    let placed = try PlacedModules(modules, above: kernel, memoryEnd: memoryEnd)
    let table = placed.modules.flatMap { [$0.start, $0.start + $0.count, $0.text, 0] as [UInt64] }
    segments.append(
      GuestSegment(
        address: Self.moduleTable,
        bytes: table.flatMap { [UInt8](littleEndian: UInt32(truncatingIfNeeded: $0)) }))
    return segments + placed.segments
  }

  private func header(mapBytes: Int, memoryEnd: UInt64) -> [UInt8] {
    var words = [UInt32](repeating: 0, count: Word.count)
    words[Word.flags] = Flag.memory | Flag.commandLine | Flag.modules | Flag.map | Flag.loaderName
    words[Word.lowerKiB] = UInt32(PCMemoryMap.lowMemoryEnd >> 10)
    words[Word.upperKiB] = UInt32((memoryEnd - PCMemoryMap.highMemory) >> 10)
    words[Word.commandLine] = UInt32(Self.text)
    words[Word.moduleCount] = UInt32(modules.count)
    words[Word.modules] = UInt32(Self.moduleTable)
    words[Word.mapBytes] = UInt32(mapBytes)
    words[Word.map] = UInt32(Self.memoryMap)
    words[Word.loaderName] = UInt32(Self.loaderName)
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

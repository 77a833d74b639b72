import GuestMemory
import Processor

/// The start at a PVH entry: 32-bit protected mode, EBX pointing to `hvm_start_info`.
///
/// Source: Xen's docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h, version 1.
struct PVHStart: Sendable, Equatable {
  let modules: [ImageModule]
  private let commandLine: [GuestSegment]

  // Places of its parts.
  private static let info = BootInformation.pvh.lowerBound
  private static let memoryMap = info + 0x200
  private static let arguments = ArgumentPlaces(commandLine: .init(address: text, capacity: 0xFFF))
  private static let text = info + 0x1000
  private static let moduleTable = info + 0x2000

  private static let magic: UInt32 = 0x336E_C578
  private static let version: UInt32 = 1

  /// A start with `modules` and the image's own command line.
  init(modules: [ImageModule], commandLine: String?) throws(ImageError) {
    self.modules = modules
    self.commandLine = try Self.arguments.placed(commandLine)
  }

  /// Lays out the kernel. The first vCPU starts the others, which the ACPI tables name.
  func layout(
    _ file: ImagePart, _ segments: [LoadedSegment], entry: UInt64, memoryBytes: UInt64, vcpus: Int
  ) throws(PlacementError) -> GuestLayout {
    let memoryEnd = min(memoryBytes, BootInformation.mostMemory)
    var all = try segments.placed(
      file, reach: BootInformation.mostMemory, reserved: [BootInformation.pvh, PCMemoryMap.tables])
    let map = MemoryRange.ofPC(memoryBytes: memoryBytes)
    all += [
      GuestSegment(address: Self.info, bytes: info(mapEntries: map.count)),
      GuestSegment(address: Self.memoryMap, bytes: map.flatMap(\.pvhEntry)),
    ]
    let placed = try PlacedModules(modules, above: segments, memoryEnd: memoryEnd)
    if !modules.isEmpty {
      // hvm_modlist_entry: address, size, command line, reserved.
      let table = placed.modules.flatMap { [$0.start, $0.count, $0.text, 0] as [UInt64] }
      all.append(GuestSegment(address: Self.moduleTable, bytes: table.flatMap { [UInt8](littleEndian: $0) }))
      all += placed.segments
    }
    all += commandLine
    var start = CPUStart.prot32(entry: entry, stackTop: BootInformation.pvh.upperBound)
    start.rbx = Self.info
    return GuestLayout(
      segments: all.sorted { $0.address < $1.address },
      starts: [start] + [CPUStart?](repeating: nil, count: vcpus - 1), platform: .pc, arguments: Self.arguments)
  }

  private func info(mapEntries: Int) -> [UInt8] {
    let flags: UInt32 = 0
    let numbers = [Self.magic, Self.version, flags, UInt32(modules.count)]
    let addresses = [
      modules.isEmpty ? 0 : Self.moduleTable, Self.text, PCMemoryMap.tables.lowerBound, Self.memoryMap,
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
  /// The image's own command line; where it has none there is an empty one, since memory is zero. Throws where no VM of the
  /// image could have it.
  func placed(_ commandLine: String?) throws(ImageError) -> [GuestSegment] {
    do throws(GuestArgumentsError) {
      return try segments(for: GuestArguments(commandLine: commandLine))
    } catch { throw .commandLine(error) }
  }
}

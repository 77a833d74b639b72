/// The memory of a PC as kernels are told of it that start in 32-bit protected mode: ordinary up to 576 KiB, then what
/// they are told at start and where firmware would be, ordinary again from 1 MiB to its end.
enum LowMemory {
  /// What they are told at start is here, up to 640 KiB; the last page is a stack.
  static let told: Range<UInt64> = 0x9_0000..<0xA_0000
  /// Where ordinary memory goes on.
  static let extended: UInt64 = 1 << 20
  /// The most that is told of: addresses above are devices', and those from 4 GiB on are out of reach.
  static let mostBytes: UInt64 = 0xC000_0000

  /// A stretch of it, and whether it is a kernel's to use.
  struct Stretch: Equatable {
    let address: UInt64
    let bytes: UInt64
    /// 1 for memory to be used, 2 for all else, as BIOS, Multiboot and PVH number it.
    let type: UInt32
  }

  /// A VM's memory, which ends at 1 MiB or above.
  static func stretches(memoryBytes: UInt64) -> [Stretch] {
    let ordinary = Stretch(address: 0, bytes: told.lowerBound, type: 1)
    let reserved = Stretch(address: told.lowerBound, bytes: extended - told.lowerBound, type: 2)
    let rest = Stretch(address: extended, bytes: memoryBytes - extended, type: 1)
    return [ordinary, reserved] + (rest.bytes > 0 ? [rest] : [])
  }
}

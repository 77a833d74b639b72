import GuestMemory

/// A stretch of guest-physical memory and its use, as firmware reports it (E820).
struct MemoryRange: Equatable {
  enum Use: UInt32 {
    case usable = 1
    case reserved = 2
  }

  let start: UInt64
  let size: UInt64
  let use: Use

  /// The map that a guest with `memoryBytes` of memory, more than 1 MiB, on `Platform.pc` gets.
  static func ofPC(memoryBytes: UInt64) -> [MemoryRange] {
    let (low, tables, high) = (PCMemoryMap.lowMemoryEnd, PCMemoryMap.tables, PCMemoryMap.highMemory)
    let below = min(memoryBytes, PCMemoryMap.holeStart)
    var ranges = [
      MemoryRange(start: 0, size: low, use: .usable),
      MemoryRange(start: low, size: PCMemoryMap.adaptersStart - low, use: .reserved),
      MemoryRange(start: tables.lowerBound, size: high - tables.lowerBound, use: .reserved),
      MemoryRange(start: high, size: below - high, use: .usable),
    ]
    if memoryBytes > below {
      ranges.append(MemoryRange(start: PCMemoryMap.holeEnd, size: memoryBytes - below, use: .usable))
    }
    return ranges
  }
}

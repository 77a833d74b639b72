/// Where the devices of `Platform.pc` stand: what the tables tell the guest, and where the devices are put.
public enum PCPlatform {
  /// The ACPI power management block: 4 ports of events, 2 of control.
  public static let powerManagement: UInt64 = 0x600
  /// The ports of the power management block.
  public static let powerManagementCount: UInt64 = 6
  /// The reset control register.
  public static let resetControl: UInt64 = 0xCF9
  /// The first port of the keyboard controller.
  public static let keyboardController: UInt64 = 0x60
  /// From its data port to its command port.
  public static let keyboardControllerCount: UInt64 = 5
  /// The interrupt of the first serial port.
  public static let serialInterrupt: UInt32 = 4

  /// Where low memory ends for the guest: above stand what a PC's firmware keeps for itself, and its tables.
  static let lowMemoryEnd: UInt64 = 0x9_FC00
  /// Where memory goes on.
  static let highMemory: UInt64 = 0x10_0000
}

/// A stretch of guest-physical memory and what it is for, as firmware tells it (E820).
struct MemoryRange: Equatable {
  enum Use: UInt32 {
    case usable = 1
    case reserved = 2
  }

  let start: UInt64
  let size: UInt64
  let use: Use

  /// What a guest with `memoryBytes` of memory, more than 1 MiB, on `Platform.pc` is told.
  static func ofPC(memoryBytes: UInt64) -> [MemoryRange] {
    let tables = ACPITables.address
    return [
      MemoryRange(start: 0, size: PCPlatform.lowMemoryEnd, use: .usable),
      MemoryRange(start: PCPlatform.lowMemoryEnd, size: 0xA_0000 - PCPlatform.lowMemoryEnd, use: .reserved),
      MemoryRange(start: tables, size: PCPlatform.highMemory - tables, use: .reserved),
      MemoryRange(start: PCPlatform.highMemory, size: memoryBytes - PCPlatform.highMemory, use: .usable),
    ]
  }
}

/// How guest-physical addresses are used on a PC: by the memory itself, by what firmware leaves there, and by the loaders of
/// images, which stay clear of it.
public enum PCMemoryMap {
  /// The BIOS data area.
  public static let biosData: UInt64 = 0x400
  /// Where usable memory ends below 1 MiB: the extended BIOS data area stands above.
  public static let lowMemoryEnd: UInt64 = 0x9_FC00
  /// Where the hole for displays and adapters begins.
  public static let adaptersStart: UInt64 = 0xA_0000
  /// Firmware's read-only tables, which kernels search for the ACPI root pointer: it is their first byte.
  public static let tables: Range<UInt64> = 0xE_0000..<0x10_0000
  /// Where memory goes on above the tables.
  public static let highMemory: UInt64 = 0x10_0000
  /// Where the hole for memory-mapped devices begins.
  public static let holeStart: UInt64 = 0xC000_0000
  /// Where memory goes on behind it.
  public static let holeEnd: UInt64 = 0x1_0000_0000
}

/// Where kernels that start in 32-bit protected mode find what they are told: in memory that is theirs to use when they
/// have read it, as boot loaders leave it.
enum BootInformation {
  /// Its place; the last page is a stack.
  static let place: Range<UInt64> = 0x9_0000..<0x9_F000
  /// What the kernel itself must leave free: that, and the ACPI tables.
  static let reserved: [Range<UInt64>] = [place, ACPITables.address..<PCPlatform.highMemory]
  /// The most memory that such kernels are told of: addresses above are devices', and those from 4 GiB on are out of
  /// their reach.
  static let mostMemory: UInt64 = 0xC000_0000
}

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
}

extension [DeviceAttachment] {
  /// The smallest machine: a serial port that is polled, the debug-exit port and the clock.
  public static let minimal: [DeviceAttachment] = [Serial16550.polled, DebugExit.attachment, RealTimeClock.attachment]

  /// A PC without disk, network and screen, beside the interrupt controllers and the timer of the kernel.
  public static let pc: [DeviceAttachment] = [
    Serial16550.interrupting, DebugExit.attachment, KeyboardController.attachment, RealTimeClock.attachment,
    PowerManagement.attachment, ResetControl.attachment, FirmwareConfiguration.attachment,
  ]
}

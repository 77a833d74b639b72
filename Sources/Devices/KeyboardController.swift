import Synchronization

/// A PC's keyboard controller (8042) that has neither keyboard nor mouse: it is there because its command 0xFE is the
/// oldest way to reset a PC. Its data port is at offset 0, its status and command port at offset 4.
///
/// Commands that have an answer are answered at once, so that a driver that looks for it does not wait for its timeouts.
public final class KeyboardController: Device {
  private static let outputFull: UInt8 = 1 << 0

  /// The answer to the last command, until it is read. A leaf lock.
  private let answer = Mutex<UInt8?>(nil)

  /// A controller that was asked nothing.
  public init() {}

  /// The answer, or the status: whether there is one.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    answer.withLock { answer in
      switch offset {
      case 0: return (UInt64(answer.take() ?? 0), .none)
      case 4: return (UInt64(answer == nil ? 0 : Self.outputFull), .none)
      default: return (width.mask, .none)
      }
    }
  }

  /// A command, or what belongs to it, which is of no consequence here.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    guard offset == 4 else { return .none }
    let command = UInt8(truncatingIfNeeded: value)
    if command == 0xFE { return .reset }
    answer.withLock { $0 = Self.answer(to: command) }
    return .none
  }

  private static func answer(to command: UInt8) -> UInt8? {
    switch command {
    case 0x20...0x3F: 0  // its memory, the configuration at 0x20: both ports on, no interrupts
    case 0xA9: 0xFF  // no mouse
    case 0xAA: 0x55  // it works
    case 0xAB: 0  // the keyboard's port works
    case 0xC0, 0xD0: 0  // the input and output port
    default: nil
    }
  }
}

import Synchronization

/// A PC's keyboard controller (8042) without keyboard and mouse: its command 0xFE is the oldest way to reset a PC.
///
/// It answers commands at once, so that a driver that looks for it does not wait for its timeouts.
public final class KeyboardController: Device {
  /// At ports 0x60 (data) to 0x64 (status and command).
  public static let attachment = DeviceAttachment("keyboard-controller", at: .ports(0x60, count: 5)) { _ in
    KeyboardController()
  }

  /// What it remembers.
  public struct State: DeviceState {
    /// The first version.
    public static let version = 1
    /// The answer to the last command, until the guest reads it.
    var answer: UInt8?
    /// Nothing was asked.
    public init() {}
  }

  private enum Register { static let data: UInt64 = 0, command: UInt64 = 4 }
  private static let outputFull: UInt8 = 1 << 0
  private static let resetCommand: UInt8 = 0xFE

  /// A leaf lock.
  private let state = Mutex(State())

  /// A controller that was asked nothing.
  public init() {}

  /// The answer, or the status: whether there is one.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    state.withLock { state in
      switch offset {
      case Register.data: return (UInt64(state.answer.take() ?? 0), .none)
      case Register.command: return (UInt64(state.answer == nil ? 0 : Self.outputFull), .none)
      default: return (width.mask, .none)
      }
    }
  }

  /// A command. Its parameters, written to the data port, have no effect.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    guard offset == Register.command else { return .none }
    let command = UInt8(truncatingIfNeeded: value)
    if command == Self.resetCommand { return .reset }
    state.withLock { $0.answer = Self.answer(to: command) }
    return .none
  }

  /// The answer that waits.
  public func save() -> State { state.withLock { $0 } }

  /// Takes the answer over.
  public func restore(_ state: State) { self.state.withLock { $0 = state } }

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

import Synchronization

/// QEMU's fw_cfg, as far as guests made for QEMU ask it how many vCPUs there are. The guest selects an item, and reads its
/// bytes one after another. There are no files and no DMA, and unknown items are zeros, as in QEMU.
///
/// Source: QEMU docs/specs/fw_cfg.rst, the traditional interface.
public final class FirmwareConfiguration: Device {
  /// At ports 0x510 (selector) and 0x511 (data).
  public static let attachment = DeviceAttachment("fw_cfg", at: .ports(0x510, count: 2)) { environment in
    FirmwareConfiguration(vcpus: environment.vcpus, memoryBytes: environment.memory.size)
  }

  /// What it remembers.
  public struct State: DeviceState {
    /// The first version.
    public static let version = 1
    /// The number of the selected item.
    var item: UInt16 = 0
    /// The byte that is read next. Past the item's end there are zeros.
    var next: UInt32 = .max
    /// Nothing is selected.
    public init() {}
  }

  private enum Register { static let selector: UInt64 = 0, data: UInt64 = 1 }
  private enum Item {
    static let signature: UInt16 = 0x00, interface: UInt16 = 0x01, memoryBytes: UInt16 = 0x03, vcpus: UInt16 = 0x05
    static let mostVCPUs: UInt16 = 0x0F
  }

  private let items: [UInt16: [UInt8]]
  /// A leaf lock.
  private let state = Mutex(State())

  /// Describes a VM to its guest.
  public init(vcpus: Int, memoryBytes: UInt64) {
    let count = [UInt8(truncatingIfNeeded: vcpus), UInt8(truncatingIfNeeded: vcpus >> 8)]
    items = [
      Item.signature: Array("QEMU".utf8),
      Item.interface: [1, 0, 0, 0],  // the traditional interface alone
      Item.memoryBytes: (0..<8).map { UInt8(truncatingIfNeeded: memoryBytes >> (8 * $0)) },
      Item.vcpus: count,
      Item.mostVCPUs: count,
    ]
  }

  /// The next byte of the selected item, from the data port; all ones from the selector.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    guard offset == Register.data, width == .byte else { return (width.mask, .none) }
    let byte = state.withLock { state -> UInt8 in
      guard let item = items[state.item], state.next < item.count else { return 0 }
      defer { state.next += 1 }
      return item[Int(state.next)]
    }
    return (UInt64(byte), .none)
  }

  /// Selects an item, from its first byte on: a write of 16 bits to the selector. All other writes are ignored.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    guard offset == Register.selector, width == .word else { return .none }
    state.withLock { state in
      state.item = UInt16(truncatingIfNeeded: value)
      state.next = 0
    }
    return .none
  }

  /// The selection.
  public func save() -> State { state.withLock { $0 } }

  /// Takes the selection over. Any number is one: past an item's end there are zeros.
  public func restore(_ state: State) { self.state.withLock { $0 = state } }
}

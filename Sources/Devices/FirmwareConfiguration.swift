import Synchronization

/// QEMU's fw_cfg, as far as guests made for QEMU ask it how many vCPUs there are: a selector, and a port that gives the
/// bytes of what is selected one after another. No files, no DMA; what it does not know is zeros, as there.
///
/// Source: QEMU docs/specs/fw_cfg.rst, the traditional interface.
public final class FirmwareConfiguration: Device {
  /// The selector's port; the data's is the next one.
  public static let port: UInt64 = 0x510
  /// Both of them.
  public static let portCount: UInt64 = 2

  private struct Selection {
    var item: [UInt8] = []
    var next = 0
  }

  private let items: [UInt16: [UInt8]]
  private let selection = Mutex(Selection())

  /// What a guest is told of its VM.
  public init(vcpus: Int, memoryBytes: UInt64) {
    let count = [UInt8(truncatingIfNeeded: vcpus), UInt8(truncatingIfNeeded: vcpus >> 8)]
    items = [
      0x00: Array("QEMU".utf8),
      // The traditional interface, and no other.
      0x01: [1, 0, 0, 0],
      0x03: (0..<8).map { UInt8(truncatingIfNeeded: memoryBytes >> (8 * $0)) },
      0x05: count,
      0x0F: count,
    ]
  }

  /// The next byte of what is selected, from the data's port; all ones from the selector's.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    guard offset == 1, width == .byte else { return (width.mask, .none) }
    let byte = selection.withLock { selection -> UInt8 in
      guard selection.next < selection.item.count else { return 0 }
      defer { selection.next += 1 }
      return selection.item[selection.next]
    }
    return (UInt64(byte), .none)
  }

  /// Selects an item, from its first byte on: a write of 16 bits to the selector. All other writes are ignored.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    guard offset == 0, width == .word else { return .none }
    let item = items[UInt16(truncatingIfNeeded: value)] ?? []
    selection.withLock { $0 = Selection(item: item) }
    return .none
  }
}

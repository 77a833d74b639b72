import Devices
import GuestImages
import LinuxSupport

extension Platform {
  /// The devices at a VM's ports. What a guest writes to its block devices is kept in memory, as much as `overlayBytes`.
  func ports(
    console: Console, memory: SharedGuestMemory, overlayBytes: UInt64
  ) throws(BusError) -> Bus {
    switch self {
    case .minimal, .pc:
      return try Bus([
        (base: Serial16550.com1, size: Serial16550.portCount, device: Serial16550(console: console)),
        (base: DebugExit.port, size: DebugExit.portCount, device: DebugExit()),
      ])
    case .solo5(let solo5):
      let budget = OverlayBudget(bytes: overlayBytes)
      let hypercalls = Solo5Hypercalls(
        memory: memory, console: console,
        blocks: solo5.blocks.mapValues { BlockOverlay(PartContents(part: $0), budget: budget) },
        wallClockNS: WallClock.now)
      return try Bus([(base: Solo5Hypercalls.port, size: Solo5Hypercalls.portCount, device: hypercalls)])
    }
  }
}

/// A part of an image as what a block device holds at first.
private struct PartContents: BlockContents {
  let part: ImagePart

  var count: UInt64 { part.count }

  func read(at offset: UInt64, count: Int) throws(BlockError) -> [UInt8] {
    do throws(ImageReadError) {
      return try part.bytes(at: offset, count: count)
    } catch { throw .unreadable }
  }
}

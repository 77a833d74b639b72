import Devices
import GuestImages
import KVM
import LinuxSupport
import SystemPackage

/// The devices of a VM and how they interrupt it.
struct MachineDevices: Sendable {
  private typealias Mapping = (base: UInt64, size: UInt64, device: any Device)

  /// What stands at its I/O ports.
  let ports: Bus
  /// What stands in its memory.
  let memory: Bus
  /// The serial port and what it interrupts with, where there is anything to interrupt.
  private let serial: (port: Serial16550, interrupt: EventInterrupt)?

  /// The devices of `platform`, connected to `console` and `memory`, which has `memoryBytes` bytes. What a guest writes
  /// to its block devices is kept in memory, as much as it has.
  init(
    _ platform: Platform, console: Console, memory: SharedGuestMemory, memoryBytes: UInt64, vcpus: Int
  ) throws(MachineCreationError) {
    let mappings: [Mapping]
    switch platform {
    case .minimal:
      serial = nil
      mappings = Self.basic(Serial16550(console: console, interrupt: nil))
    case .pc:
      let interrupt: EventInterrupt
      do throws(Errno) {
        interrupt = try EventInterrupt()
      } catch { throw .interrupt(error) }
      let port = Serial16550(console: console, interrupt: interrupt)
      serial = (port, interrupt)
      let firmware = FirmwareConfiguration(vcpus: vcpus, memoryBytes: memoryBytes)
      mappings =
        Self.basic(port) + [
          (PCPlatform.keyboardController, PCPlatform.keyboardControllerCount, KeyboardController()),
          (PCPlatform.powerManagement, PCPlatform.powerManagementCount, PowerManagement()),
          (PCPlatform.resetControl, 1, ResetControl()),
          (FirmwareConfiguration.port, FirmwareConfiguration.portCount, firmware),
        ]
    case .solo5(let solo5):
      serial = nil
      let budget = OverlayBudget(bytes: memoryBytes)
      let hypercalls = Solo5Hypercalls(
        memory: memory, console: console,
        blocks: solo5.blocks.mapValues { BlockOverlay(PartContents(part: $0), budget: budget) },
        wallClockNS: WallClock.now)
      mappings = [(Solo5Hypercalls.port, Solo5Hypercalls.portCount, hypercalls)]
    }
    do throws(BusError) {
      ports = try Bus(mappings)
      self.memory = try Bus([])
    } catch { throw .devices(error) }
  }

  private static func basic(_ serial: Serial16550) -> [Mapping] {
    [(Serial16550.com1, Serial16550.portCount, serial), (DebugExit.port, DebugExit.portCount, DebugExit())]
  }

  /// Connects their interrupts to `vm`, which has interrupt controllers if its platform has.
  func connect(to vm: borrowing VMDescriptor) throws(KVMError) {
    try serial?.interrupt.connect(to: vm, interrupt: PCPlatform.serialInterrupt)
  }

  /// Tells the guest that its console has input; false where it is not interrupted, and has to be made to look.
  func interruptForInput() -> Bool { serial?.port.inputArrived() ?? false }
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

import Devices
import GuestMemory
import Synchronization

/// A device that fills guest memory with random bytes: how a device is added, in one file and one attachment. The guest
/// writes an address, then a length, which starts the transfer; the device interrupts, and shows how much it wrote.
final class EntropyDevice: Device {
  static let attachment = DeviceAttachment(
    "entropy", at: .memory(0xD000_0000, size: 0x200), interrupt: 5, acpiID: "LNRO0005"
  ) { environment in
    EntropyDevice(memory: environment.memory, interrupt: environment.interrupt)
  }

  struct State: DeviceState {
    static let version = 1
    var address: UInt32 = 0
    var written: UInt32 = 0
  }

  private enum Register { static let address: UInt64 = 0, length: UInt64 = 4, written: UInt64 = 8 }
  private static let limit: UInt64 = 4096

  private let memory: GuestRAM
  private let interrupt: (any InterruptLine)?
  private let state = Mutex(State())

  init(memory: GuestRAM, interrupt: (any InterruptLine)?) {
    self.memory = memory
    self.interrupt = interrupt
  }

  func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    (offset == Register.written ? UInt64(state.withLock { $0.written }) : 0, .none)
  }

  func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    state.withLock { state in
      if offset == Register.address { state.address = UInt32(truncatingIfNeeded: value) }
      guard offset == Register.length else { return }
      let bytes = (0..<min(value, Self.limit)).map { _ in UInt8.random(in: 0...255) }
      guard (try? memory.write(bytes, at: UInt64(state.address))) != nil else { return }
      state.written = UInt32(bytes.count)
      interrupt?.pulse()
    }
    return .none
  }

  func save() -> State { state.withLock { $0 } }

  func restore(_ state: State) { self.state.withLock { $0 = state } }
}

import Devices
import GuestImages
import KVM
import SystemPackage

/// The devices of a VM and how they interrupt it.
struct MachineDevices: Sendable {
  /// What stands at its I/O ports.
  let ports: Bus
  /// What stands in its memory.
  let memory: Bus
  private let serial: Serial16550
  /// The serial port's, where there is anything to interrupt.
  private let serialInterrupt: EventInterrupt?

  /// The devices of `platform`, its serial port connected to `console`.
  init(_ platform: Platform, console: Console) throws(MachineCreationError) {
    do throws(Errno) {
      serialInterrupt = platform == .pc ? try EventInterrupt() : nil
    } catch { throw .interrupt(error) }
    serial = Serial16550(console: console, interrupt: serialInterrupt)
    var mappings: [(base: UInt64, size: UInt64, device: any Device)] = [
      (Serial16550.com1, Serial16550.portCount, serial), (DebugExit.port, DebugExit.portCount, DebugExit()),
    ]
    if platform == .pc {
      mappings += [
        (PCPlatform.keyboardController, PCPlatform.keyboardControllerCount, KeyboardController()),
        (PCPlatform.powerManagement, PCPlatform.powerManagementCount, PowerManagement()),
        (PCPlatform.resetControl, 1, ResetControl()),
      ]
    }
    do throws(BusError) {
      ports = try Bus(mappings)
      memory = try Bus([])
    } catch { throw .devices(error) }
  }

  /// Connects their interrupts to `vm`, which has interrupt controllers if its platform has.
  func connect(to vm: borrowing VMDescriptor) throws(KVMError) {
    try serialInterrupt?.connect(to: vm, interrupt: PCPlatform.serialInterrupt)
  }

  /// Tells the guest that its console has input; false where it is not interrupted, and has to be made to look.
  func interruptForInput() -> Bool {
    guard serialInterrupt != nil else { return false }
    serial.inputArrived()
    return true
  }
}

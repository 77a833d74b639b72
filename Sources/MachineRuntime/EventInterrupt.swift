import Devices
import KVM
import LinuxSupport
import SystemPackage

/// An interrupt line of a VM whose interrupt controllers are the kernel's: an event counter that KVM watches.
///
/// It owns the counter, so a device that outlives the VM pulses into the void.
final class EventInterrupt: InterruptLine {
  private let counter: EventCounter

  /// A line that is not connected.
  init() throws(Errno) { counter = try EventCounter() }

  /// Makes it interrupt `number` of `vm`, which has interrupt controllers.
  func connect(to vm: borrowing VMDescriptor, interrupt number: UInt32) throws(KVMError) {
    try vm.connect(event: counter.rawValue, toInterrupt: number)
  }

  func pulse() { counter.signal() }
}

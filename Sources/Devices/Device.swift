/// How many bytes one port or memory access moves.
public enum AccessWidth: UInt8, Sendable, CaseIterable {
  case byte = 1
  case word = 2
  case dword = 4
  case qword = 8

  /// The bits an access of this width can carry; also what an unclaimed read returns.
  public var mask: UInt64 { UInt64.max >> (64 - 8 * UInt64(rawValue)) }
}

/// What an access asks of the vCPU that made it.
public enum DeviceEffect: Sendable, Equatable {
  /// Nothing: the guest goes on.
  case none
  /// The guest says that it is done, with this code.
  case exit(code: UInt8)
  /// The guest turns the machine off.
  case powerOff
  /// The guest resets the machine.
  case reset
  /// The guest polls an empty device: its vCPU may sleep until there is input. Input may have arrived since, so look
  /// for it again (`Console.hasInput`) once whatever wakes the vCPU is armed, before it sleeps.
  case idle
  /// The guest waits: its vCPU sleeps for so many nanoseconds.
  case sleep(forNS: UInt64)
  /// The guest did what nothing can go on from.
  case fail(GuestFault)
}

/// What a guest did to a device that cannot go on after it.
public enum GuestFault: Sendable, Equatable, CustomStringConvertible {
  /// There is no hypercall of that number.
  case noSuchHypercall(number: UInt64)
  /// Hypercalls are made by writes of 32 bits.
  case hypercallWidth(Solo5Hypercalls.Call, AccessWidth)
  /// A hypercall names bytes that the guest does not have.
  case hypercallAddress(Solo5Hypercalls.Call, GuestAddressError)

  /// What it did, in a sentence without its end.
  public var description: String {
    switch self {
    case .noSuchHypercall(let number): "the guest made hypercall \(number), which does not exist"
    case .hypercallWidth(let call, let width):
      "the guest made hypercall \(call.name) by writing \(width.rawValue) bytes to its port instead of 4"
    case .hypercallAddress(let call, let range): "the guest made hypercall \(call.name) with \(range)"
    }
  }
}

/// A wire from a device to the interrupt controllers that counts edges: what stands while nothing looks raises nothing.
public protocol InterruptLine: AnyObject, Sendable {
  /// Raises the interrupt once. Any thread; does not wait.
  func pulse()
}

/// Something a guest reaches through ports or memory accesses.
///
/// Every vCPU thread of a VM may call it at the same time. It gets any offset and any width, since the guest chooses
/// them, and must neither trap nor wait.
public protocol Device: AnyObject, Sendable {
  /// Reads `width` bytes at `offset` from the start of the device, little-endian. Bits past the width are ignored.
  func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect)

  /// Writes the low `width` bytes of `value` at `offset` from the start of the device, little-endian.
  func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect
}

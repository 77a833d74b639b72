import GuestMemory

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
  /// The guest polls an empty device: its vCPU may sleep for so many nanoseconds, or until there is input. Input may have
  /// arrived since. So arm what wakes the vCPU, look for input again (`Console.hasInput`), and only then sleep.
  case idle(forNS: UInt64)
  /// The guest waits: its vCPU sleeps for so many nanoseconds.
  case sleep(forNS: UInt64)
  /// The guest did something that nothing can go on from.
  case fail(GuestFault)
}

/// What a guest did to a device that cannot go on after it.
public enum GuestFault: Sendable, Equatable, CustomStringConvertible {
  /// No hypercall has that number.
  case noSuchHypercall(number: UInt64)
  /// Hypercalls are made by writes of 32 bits.
  case hypercallWidth(Solo5Hypercalls.Hypercall, AccessWidth)
  /// A hypercall names bytes that the guest does not have.
  case hypercallAddress(Solo5Hypercalls.Hypercall, GuestAddressError)

  /// What the guest did, as a sentence without its full stop.
  public var description: String {
    switch self {
    case .noSuchHypercall(let number): "the guest made hypercall \(number), which does not exist"
    case .hypercallWidth(let call, let width):
      "the guest made hypercall \(call.name) by writing \(width.rawValue) bytes to its port instead of 4"
    case .hypercallAddress(let call, let range): "the guest made hypercall \(call.name) with \(range)"
    }
  }
}

/// A wire from a device to the interrupt controllers. It counts edges.
public protocol InterruptLine: AnyObject, Sendable {
  /// Raises the interrupt once. Any thread; does not wait.
  func pulse()
}

/// All that a device remembers: a small value. It comes from this process or from a file that an enemy wrote, so `restore`
/// checks it.
public protocol DeviceState: Sendable, Equatable, Codable {
  /// Counts changes of the members. A state of another version is refused.
  static var version: Int { get }
  /// The state after a reset.
  init()
}

/// The state of a device that remembers nothing.
public struct Stateless: DeviceState {
  /// It has never changed.
  public static let version = 1
  /// There is one value of it.
  public init() {}
}

/// Why a state cannot be restored.
public enum DeviceStateError: Error, Sendable, Equatable, CustomStringConvertible {
  /// It belongs to another kind of device.
  case otherDevice(expected: String, found: String)
  /// The VM has no device of that name.
  case unknownDevice(name: String)
  /// There is no state for a device of the VM.
  case missing(name: String)
  /// A member has a value that the device can never have.
  case impossible(member: String)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .otherDevice(let expected, let found):
      "the saved state is one of \(found), and the device wants \(expected); restore it into a VM of the same image"
    case .unknownDevice(let name):
      "the saved states name a device \(name), which the VM does not have; restore them into a VM of the same image"
    case .missing(let name):
      "the saved states have none for the device \(name); restore them into a VM of the same image"
    case .impossible(let member):
      "the saved state's \(member) has a value that the device can never have; save the VM again"
    }
  }
}

/// A device, which a guest reaches through ports or memory accesses.
///
/// Every vCPU thread of a VM may call it at the same time. The guest chooses offsets and widths, so any may come. A device
/// must neither trap nor wait.
public protocol Device: AnyObject, Sendable {
  /// All that it remembers.
  associatedtype State: DeviceState = Stateless

  /// Reads `width` bytes at `offset` from the start of the device, little-endian. Bits past the width are ignored.
  func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect)

  /// Writes the low `width` bytes of `value` at `offset` from the start of the device, little-endian.
  func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect

  /// Returns all that it remembers. For a VM whose vCPUs are parked, as are the next two.
  func save() -> State

  /// Takes over what another device of its kind remembered. Refuses what no device can remember.
  func restore(_ state: State) throws(DeviceStateError)

  /// Called when the console has got input. Any thread.
  /// - Returns: whether it interrupted the guest. If not, the guest polls, or does not look at all.
  func inputArrived() -> Bool
}

extension Device {
  /// Brings it into its state after a reset.
  public func reset() {
    // A device takes the state after its own reset.
    try? restore(State())
  }

  /// Takes over a state of unknown type.
  public func restore(any state: any DeviceState) throws(DeviceStateError) {
    guard let own = state as? State else {
      throw .otherDevice(expected: "\(State.self)", found: "\(type(of: state))")
    }
    try restore(own)
  }

  /// Most devices have nothing to do with the console.
  public func inputArrived() -> Bool { false }
}

extension Device where State == Stateless {
  /// Nothing.
  public func save() -> Stateless { Stateless() }
  /// There is nothing to take over.
  public func restore(_ state: Stateless) throws(DeviceStateError) {}
}

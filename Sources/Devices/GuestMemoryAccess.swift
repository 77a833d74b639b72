/// A range that a guest named and that is not wholly inside its memory.
public struct GuestAddressError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The guest-physical address of its first byte.
  public let address: UInt64
  /// How many bytes it has.
  public let count: UInt64

  /// The range of `count` bytes at `address`.
  public init(address: UInt64, count: UInt64) {
    self.address = address
    self.count = count
  }

  /// Which range it is.
  public var description: String {
    "\(count) bytes at 0x\(String(address, radix: 16)), which are not all inside its memory"
  }
}

/// A guest's memory, as its devices see it. Any numbers: they come from the guest. The guest may write at the same time,
/// so what is read is copied once and looked at afterwards.
public protocol GuestMemoryAccess: AnyObject, Sendable {
  /// Throws unless `count` bytes at `address` are the guest's.
  func check(_ address: UInt64, count: UInt64) throws(GuestAddressError)

  /// A copy of `count` bytes at `address`.
  func read(at address: UInt64, count: Int) throws(GuestAddressError) -> [UInt8]

  /// Copies `bytes` to `address`, all or none.
  func write(_ bytes: [UInt8], at address: UInt64) throws(GuestAddressError)
}

/// A range of guest-physical addresses that is not wholly inside a guest's memory.
public struct GuestAddressError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The guest-physical address of its first byte.
  public let address: UInt64
  /// Its length in bytes.
  public let count: UInt64

  /// The range of `count` bytes at `address`.
  public init(address: UInt64, count: UInt64) {
    self.address = address
    self.count = count
  }

  /// Names the range.
  public var description: String {
    "\(count) bytes at 0x\(String(address, radix: 16)), which are not all inside its memory"
  }
}

/// Why devices cannot share a bus.
public enum BusError: Error, Equatable, CustomStringConvertible {
  /// A mapping has size 0.
  case empty(base: UInt64)
  /// A mapping ends past the last 64-bit address.
  case wrapsAround(base: UInt64, size: UInt64)
  /// Two mappings claim the same address; both ranges are inclusive.
  case overlap(ClosedRange<UInt64>, ClosedRange<UInt64>)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .empty(let base):
      "The device at \(hex(base)) has size 0. Give it at least one address."
    case .wrapsAround(let base, let size):
      "The device at \(hex(base)) of size \(hex(size)) ends past the last address. Move it down or make it smaller."
    case .overlap(let first, let second):
      """
      The devices at \(hex(first.lowerBound))-\(hex(first.upperBound)) and \
      \(hex(second.lowerBound))-\(hex(second.upperBound)) overlap. Move one of them.
      """
    }
  }
}

private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

/// The devices of one address space, ports or memory. Immutable: any thread may use it at any time.
public final class Bus: Sendable {
  private struct Mapping {
    let base: UInt64
    let last: UInt64
    let device: any Device
  }

  /// Ascending, disjoint. Searched in order: a VM has a handful of devices.
  private let mappings: [Mapping]

  /// Maps each device at `base ..< base + size`. A device may stand on a bus more than once.
  public init(_ mappings: [(base: UInt64, size: UInt64, device: any Device)]) throws(BusError) {
    var sorted: [Mapping] = []
    for (base, size, device) in mappings.sorted(by: { $0.base < $1.base }) {
      guard size > 0 else { throw .empty(base: base) }
      let (last, wraps) = base.addingReportingOverflow(size - 1)
      guard !wraps else { throw .wrapsAround(base: base, size: size) }
      if let below = sorted.last, below.last >= base { throw .overlap(below.base...below.last, base...last) }
      sorted.append(Mapping(base: base, last: last, device: device))
    }
    self.mappings = sorted
  }

  /// The devices of `attachments` that are reached through ports, or through memory.
  public convenience init(_ attachments: [(DeviceAttachment, any Device)], ports: Bool) throws(BusError) {
    var mappings: [(base: UInt64, size: UInt64, device: any Device)] = []
    for (attachment, device) in attachments {
      switch attachment.place {
      case .ports(let port, let count) where ports: mappings.append((UInt64(port), UInt64(count), device))
      case .memory(let address, let size) where !ports: mappings.append((address, size, device))
      case .ports, .memory: break
      }
    }
    try self.init(mappings)
  }

  /// Reads from the device at `address`. All ones where no device holds the whole access.
  public func read(address: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    guard let mapping = mapping(address, width) else { return (width.mask, .none) }
    let (value, effect) = mapping.device.read(offset: address - mapping.base, width: width)
    return (value & width.mask, effect)
  }

  /// Writes the low bytes of `value` to the device at `address`. Ignored where no device holds the whole access.
  public func write(address: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    guard let mapping = mapping(address, width) else { return .none }
    return mapping.device.write(offset: address - mapping.base, width: width, value: value & width.mask)
  }

  private func mapping(_ address: UInt64, _ width: AccessWidth) -> Mapping? {
    for mapping in mappings where mapping.base <= address && address <= mapping.last {
      return mapping.last - address >= UInt64(width.rawValue) - 1 ? mapping : nil
    }
    return nil
  }
}

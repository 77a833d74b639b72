/// The processor mode a flat image starts in.
public enum FlatMode: String, Sendable, CaseIterable {
  /// 16-bit real mode.
  case real16
  /// 32-bit protected mode with flat segments, without paging, in ring 0.
  case prot32
  /// 64-bit mode in ring 0.
  case long64
  /// 64-bit mode in ring 3, with port I/O allowed.
  case long64Ring3 = "long64_ring3"

  /// The mode of the processor, whatever the ring.
  public var cpuMode: CPUMode {
    switch self {
    case .real16: .real16
    case .prot32: .prot32
    case .long64, .long64Ring3: .long64
    }
  }
}

/// Raw machine code, put at an address and started there. Nothing is checked until it is laid out.
public struct FlatImage: Sendable, Equatable {
  /// The mode it starts in.
  public let mode: FlatMode
  /// The guest-physical address of its first byte.
  public let loadAddress: UInt64
  /// The guest-physical address it starts at.
  public let entry: UInt64
  /// The machine code.
  public let code: [UInt8]

  /// `entry` is the load address when nil.
  public init(mode: FlatMode, loadAddress: UInt64 = 0x10000, entry: UInt64? = nil, code: [UInt8]) {
    self.mode = mode
    self.loadAddress = loadAddress
    self.entry = entry ?? loadAddress
    self.code = code
  }
}

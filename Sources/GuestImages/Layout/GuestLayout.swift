import Processor

/// Bytes and the guest-physical address they belong at.
public struct GuestSegment: Sendable, Equatable {
  /// Where the bytes are.
  public enum Contents: Sendable, Equatable {
    /// Here.
    case bytes([UInt8])
    /// In a part of the image, `count` of them from `offset` on; they are there.
    case part(ImagePart, offset: UInt64, count: UInt64)
  }

  /// The guest-physical address of the first byte.
  public let address: UInt64
  /// The bytes.
  public let contents: Contents

  /// Bytes made by us.
  public init(address: UInt64, bytes: [UInt8]) {
    self.address = address
    contents = .bytes(bytes)
  }

  /// A number made by us.
  public init(littleEndian number: some FixedWidthInteger & UnsignedInteger, at address: UInt64) {
    self.init(address: address, bytes: [UInt8](littleEndian: number))
  }

  /// Bytes of a part of the image, which has them.
  public init(address: UInt64, part: ImagePart, offset: UInt64, count: UInt64) {
    self.address = address
    contents = .part(part, offset: offset, count: count)
  }

  /// A whole part of the image.
  public init(address: UInt64, part: ImagePart) {
    self.init(address: address, part: part, offset: 0, count: part.count)
  }

  /// A copy of the bytes.
  public func bytes() throws(ImageReadError) -> [UInt8] {
    switch contents {
    case .bytes(let bytes): bytes
    case .part(let part, let offset, let count): try part.bytes(at: offset, count: Int(clamping: count))
    }
  }

  /// How many bytes there are.
  public var count: UInt64 {
    switch contents {
    case .bytes(let bytes): UInt64(bytes.count)
    case .part(_, _, let count): count
    }
  }
}

/// The devices around a VM's memory and its vCPUs.
public enum Platform: Sendable, Equatable {
  /// A serial port that is polled, and the debug-exit port. Nothing interrupts: a vCPU that executes HLT has ended.
  case minimal
  /// The kernel's interrupt controllers and timer besides, and a serial port that interrupts (IRQ 4).
  case pc
  /// Solo5's hypercalls, and nothing else.
  case solo5(Solo5Platform)

  /// Whether it has the kernel's interrupt controllers, so that a halted vCPU sleeps in the kernel.
  public var hasInterrupts: Bool { self == .pc }
}

/// What a Solo5 guest finds behind its hypercalls.
public struct Solo5Platform: Sendable, Equatable {
  /// What its block devices hold at first, by their handles.
  public let blocks: [UInt64: ImagePart]
  /// The guest-physical address of 64 bits that hold the frequency of the time stamp counter in Hz.
  public let frequencyAddress: UInt64

  /// A platform with every member given.
  public init(blocks: [UInt64: ImagePart], frequencyAddress: UInt64) {
    self.blocks = blocks
    self.frequencyAddress = frequencyAddress
  }
}

/// The bytes of a VM's memory, the start of its vCPUs, and its platform.
public struct GuestLayout: Sendable, Equatable {
  /// Ascending, disjoint, within the VM's memory. All other memory is zero.
  public let segments: [GuestSegment]
  /// How each vCPU starts; nil for one that another starts (INIT and startup interrupts).
  public let starts: [CPUStart?]
  /// What else the VM has.
  public let platform: Platform
  /// Where the guest finds its arguments.
  public let arguments: ArgumentPlaces

  /// A layout with every member given.
  public init(
    segments: [GuestSegment], starts: [CPUStart?], platform: Platform, arguments: ArgumentPlaces = ArgumentPlaces()
  ) {
    self.segments = segments
    self.starts = starts
    self.platform = platform
    self.arguments = arguments
  }
}

import GuestMemory
import Processor

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

  /// The mode of the processor, without the ring.
  public var cpuMode: CPUMode {
    switch self {
    case .real16: .real16
    case .prot32: .prot32
    case .long64, .long64Ring3: .long64
    }
  }
}

/// Raw machine code, put at an address and started there. What came with a request is checked when it is laid out.
public struct FlatImage: Sendable, Equatable {
  /// How it starts.
  public let placement: FlatPlacement
  /// The machine code.
  public let code: ImagePart

  /// Machine code that starts as `placement` says.
  public init(_ code: ImagePart, _ placement: FlatPlacement) {
    self.code = code
    self.placement = placement
  }

  /// `entry` is the load address when nil.
  public init(mode: FlatMode, loadAddress: UInt64 = 0x10000, entry: UInt64? = nil, code: [UInt8]) {
    self.init(ImagePart(code), FlatPlacement(mode: mode, loadAddress: loadAddress, entry: entry))
  }

  /// The mode it starts in.
  public var mode: FlatMode { placement.mode }
  /// The guest-physical address of its first byte.
  public var loadAddress: UInt64 { placement.loadAddress }
  /// The guest-physical address it starts at.
  public var entry: UInt64 { placement.entry }

  /// The least memory of a VM.
  static let leastBytes: UInt64 = 1 << 20

  /// The least memory that it fits into.
  var minimumMemory: MinimumMemory {
    let (end, overflow) = loadAddress.addingReportingOverflow(code.count)
    return MinimumMemory(kernelBytes: overflow ? .max : max(Self.leastBytes, end))
  }

  /// Its description for clients.
  var description: ImageDescription {
    ImageDescription(
      kind: .flat, sizeBytes: code.count, maxVCPUs: CPUStart.maxVCPUsAtOnce, ring: mode == .long64Ring3 ? 3 : 0,
      entry: entry,
      segments: [.init(address: loadAddress, fileBytes: code.count, memoryBytes: code.count, access: "rwx")],
      notes: ["mode": mode.rawValue])
  }

  /// Lays it out; `vcpuLimit` is how many vCPUs it runs on.
  func layout(
    memoryBytes: UInt64, vcpus: Int, vcpuLimit: Int = CPUStart.maxVCPUsAtOnce
  ) throws(GuestLayoutError) -> GuestLayout {
    try MinimumMemory(kernelBytes: Self.leastBytes).check(memoryBytes)
    guard vcpus >= 1 && vcpus <= vcpuLimit else { throw .vcpuCount(vcpus, limit: vcpuLimit) }
    try checkPlace(memoryBytes: memoryBytes)
    let tables = mode.cpuMode == .long64 ? LongModeTables.segments : []
    return GuestLayout(
      segments: tables + [GuestSegment(address: loadAddress, part: code)],
      starts: (0..<vcpus).map(start(vcpu:)), platform: .minimal)
  }

  private func start(vcpu index: Int) -> CPUStart {
    let mode = mode.cpuMode
    let ring = self.mode == .long64Ring3 ? 3 : 0
    let segmentBase = mode == .real16 ? loadAddress : 0
    let stackTop = 0x8000 + (UInt64(index) + 1) * 0x1000
    return CPUStart(
      mode: mode, ring: ring, entry: entry - segmentBase, codeSegmentBase: segmentBase,
      // SP has 16 bits: the eighth stack's top is 0 there, from where the first push wraps to 0xFFFE.
      stackPointer: mode == .real16 ? stackTop & 0xFFFF : stackTop,
      pageTableRoot: mode == .long64 ? LongModeTables.root : 0, firstArgument: UInt64(index), ioPrivilegeLevel: ring)
  }

  /// Throws where it cannot lie or start so in a VM with so much memory.
  func checkPlace(memoryBytes: UInt64) throws(GuestLayoutError) {
    guard code.count > 0 else { throw .emptyCode }
    let (end, overflow) = loadAddress.addingReportingOverflow(code.count)
    guard !overflow && end <= memoryBytes else {
      throw .codeBeyondMemory(loadAddress: loadAddress, codeBytes: code.count, memoryBytes: memoryBytes)
    }
    let limit = reach
    guard end <= limit else {
      throw .codeBeyondMode(mode.cpuMode, loadAddress: loadAddress, codeBytes: code.count, limit: limit)
    }
    guard entry >= loadAddress && entry < end else {
      throw .entryOutsideCode(entry: entry, loadAddress: loadAddress, codeBytes: code.count)
    }
    switch mode.cpuMode {
    case .real16:
      guard loadAddress % 16 == 0 else { throw .loadAddressUnaligned(loadAddress) }
      guard entry - loadAddress <= 0xFFFF else { throw .entryBeyondSegment(entry: entry, loadAddress: loadAddress) }
    case .long64:
      guard loadAddress >= LongModeTables.reservedEnd else { throw .loadAddressReserved(loadAddress) }
    case .prot32:
      break
    }
  }

  /// The first address that code in this mode cannot have at start.
  private var reach: UInt64 {
    switch mode.cpuMode {
    case .real16: 1 << 20
    case .prot32: PCMemoryMap.holeStart
    case .long64: LongModeTables.mappedEnd
    }
  }
}

/// What to put into a VM's memory, and how its vCPUs start.
public struct GuestLayout: Sendable {
  /// Bytes and the guest-physical addresses they belong at: ascending, disjoint, within the VM's memory. All other
  /// memory is zero. Code in `real16` and `prot32` may lie where the stacks are, and then has to mind that.
  public let segments: [(address: UInt64, bytes: [UInt8])]
  private let image: FlatImage
  private let vcpus: Int

  fileprivate init(image: FlatImage, vcpus: Int) {
    let tables = image.mode.cpuMode == .long64 ? LongModeTables.segments : []
    self.segments = tables + [(image.loadAddress, image.code)]
    self.image = image
    self.vcpus = vcpus
  }

  /// How vCPU `index` starts; it must be one of those the layout was made for.
  public func start(vcpu index: Int) -> CPUStart {
    precondition((0..<vcpus).contains(index), "the layout has \(vcpus) vCPUs, and none is number \(index)")
    let mode = image.mode.cpuMode
    let ring = image.mode == .long64Ring3 ? 3 : 0
    let segmentBase = mode == .real16 ? image.loadAddress : 0
    let stackTop = 0x8000 + (UInt64(index) + 1) * 0x1000
    return CPUStart(
      mode: mode, ring: ring, entry: image.entry - segmentBase, codeSegmentBase: segmentBase,
      // SP has 16 bits: the eighth stack's top is 0 there, from where the first push wraps to 0xFFFE.
      stackPointer: mode == .real16 ? stackTop & 0xFFFF : stackTop,
      pageTableRoot: mode == .long64 ? LongModeTables.root : 0, firstArgument: UInt64(index), ioPrivilegeLevel: ring)
  }
}

extension GuestImage {
  /// Lays the image out in a VM with `memoryBytes` of memory from address 0 and with `vcpus` vCPUs. Pure: the same
  /// arguments give the same layout. All bytes and numbers may come from an enemy.
  public func layout(memoryBytes: UInt64, vcpus: Int) throws(GuestLayoutError) -> GuestLayout {
    switch self {
    case .builtin(let guest):
      let image = FlatImage(mode: guest.ring == 0 ? .long64 : .long64Ring3, code: guest.code)
      return try image.layout(memoryBytes: memoryBytes, vcpus: vcpus, vcpuLimit: guest.maxVCPUs)
    case .flat(let image):
      return try image.layout(memoryBytes: memoryBytes, vcpus: vcpus, vcpuLimit: CPUStart.maxVCPUs)
    }
  }
}

extension FlatImage {
  fileprivate func layout(
    memoryBytes: UInt64, vcpus: Int, vcpuLimit: Int
  ) throws(GuestLayoutError) -> GuestLayout {
    guard memoryBytes >= 1 << 20 else { throw .memoryTooSmall(memoryBytes: memoryBytes) }
    guard vcpus >= 1 && vcpus <= vcpuLimit else { throw .vcpuCount(vcpus, limit: vcpuLimit) }
    try checkPlace(memoryBytes: memoryBytes)
    return GuestLayout(image: self, vcpus: vcpus)
  }

  private func checkPlace(memoryBytes: UInt64) throws(GuestLayoutError) {
    guard !code.isEmpty else { throw .emptyCode }
    let (end, overflow) = loadAddress.addingReportingOverflow(UInt64(code.count))
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
    case .prot32: 1 << 32
    case .long64: LongModeTables.mappedEnd
    }
  }
}

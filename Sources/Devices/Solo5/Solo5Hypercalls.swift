import GuestMemory

/// The hypercalls of Solo5's hvt interface, ABI version 2. The guest writes the guest-physical address of a structure,
/// 32 bits, to the port of the call. The structure holds the parameters, and receives the results.
///
/// A structure or a buffer that is not wholly inside the guest's memory ends the guest, as does a call that does not exist.
/// There are no network devices.
///
/// Source: Solo5's include/hvt_abi.h.
public final class Solo5Hypercalls: Device {
  /// At the port of call 0, which does not exist. The last ports are room for a write of 32 bits to the last call's.
  public static func attachment(blocks: [UInt64: BlockOverlay]) -> DeviceAttachment {
    DeviceAttachment("solo5", at: .ports(0x500, count: 12)) { environment in
      Solo5Hypercalls(
        memory: environment.memory, console: environment.console, blocks: blocks,
        wallClockNS: environment.wallClockNS)
    }
  }

  /// The most bytes that one call moves: a vCPU that copies is not looking at kicks. Longer transfers with block
  /// devices are refused, and of longer texts the end is printed.
  public static let transferLimit: UInt64 = 1 << 20

  /// A call by its number.
  public enum Hypercall: UInt64, Sendable, CaseIterable {
    case walltime = 1
    case puts, poll, blockWrite, blockRead, netWrite, netRead, halt

    /// The ABI's name.
    public var name: String {
      switch self {
      case .walltime: "WALLTIME"
      case .puts: "PUTS"
      case .poll: "POLL"
      case .blockWrite: "BLOCK_WRITE"
      case .blockRead: "BLOCK_READ"
      case .netWrite: "NET_WRITE"
      case .netRead: "NET_READ"
      case .halt: "HALT"
      }
    }
  }

  /// The results that calls give (solo5_result_t).
  enum Status: UInt32 {
    case ok = 0
    case invalid = 2
    case unspecified = 3
  }

  /// Where structures have their results: hvt_hc_walltime.nsecs, hvt_hc_poll.ready_set and .ret, and the .ret of transfers.
  private enum Offset {
    static let time: UInt64 = 0, readySet: UInt64 = 8, pollResult: UInt64 = 16, transferResult: UInt64 = 32
  }

  private let memory: GuestRAM
  private let console: Console
  private let blocks: [UInt64: BlockOverlay]
  private let wallClockNS: @Sendable () -> UInt64

  /// `blocks` by their handles; `wallClockNS` returns the time since 1970 in nanoseconds.
  public init(
    memory: GuestRAM, console: Console, blocks: [UInt64: BlockOverlay],
    wallClockNS: @escaping @Sendable () -> UInt64
  ) {
    self.memory = memory
    self.console = console
    self.blocks = blocks
    self.wallClockNS = wallClockNS
  }

  /// All ones: calls are made by writing.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) { (width.mask, .none) }

  /// Makes the call whose port is `offset` ports after the first.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    guard let call = Hypercall(rawValue: offset) else { return .fail(.noSuchHypercall(number: offset)) }
    guard width == .dword else { return .fail(.hypercallWidth(call, width)) }
    do throws(GuestAddressError) {
      return try make(call, Structure(memory: memory, address: value))
    } catch { return .fail(.hypercallAddress(call, error)) }
  }

  private func make(_ call: Hypercall, _ structure: Structure) throws(GuestAddressError) -> DeviceEffect {
    switch call {
    case .walltime:
      try structure.put(wallClockNS(), at: Offset.time)
      return .none
    case .puts:
      let input = try structure.words(2)
      try print(at: input[0], count: input[1])
      return .none
    case .poll:
      let timeout = try structure.words(3)[0]
      // Nothing but time is waited for, so the answer is known; the guest, which has one vCPU, sees it when it wakes.
      try structure.put(UInt64(0), at: Offset.readySet)
      try structure.put(UInt32(0), at: Offset.pollResult)
      return timeout == 0 ? .none : .sleep(forNS: timeout)
    case .blockWrite, .blockRead:
      let input = try structure.words(5)
      let status =
        call == .blockWrite
        ? try writeBlocks(input[0], at: input[1], data: input[2], count: input[3])
        : try readBlocks(input[0], at: input[1], data: input[2], count: input[3])
      try structure.put(status.rawValue, at: Offset.transferResult)
      return .none
    case .netWrite, .netRead:
      _ = try structure.words(5)
      try structure.put(Status.invalid.rawValue, at: Offset.transferResult)
      return .none
    case .halt:
      let input = try structure.words(2)
      if input[0] != 0 { try memory.check(input[0], count: Self.cookieBytes) }
      return .exit(code: UInt8(truncatingIfNeeded: input[1]))
    }
  }

  /// What a guest that halts may point to (HVT_HALT_COOKIE_MAX).
  private static let cookieBytes: UInt64 = 512

  private func print(at address: UInt64, count: UInt64) throws(GuestAddressError) {
    try memory.check(address, count: count)
    let printed = min(count, Self.transferLimit)
    console.append(try memory.read(at: address + (count - printed), count: Int(printed)))
  }

  private func writeBlocks(
    _ handle: UInt64, at offset: UInt64, data: UInt64, count: UInt64
  ) throws(GuestAddressError) -> Status {
    guard let block = try block(handle, at: offset, data: data, count: count) else { return .invalid }
    let bytes = try memory.read(at: data, count: Int(count))
    do throws(BlockError) {
      try block.write(bytes, at: offset)
      return .ok
    } catch { return error == .outOfRange ? .invalid : .unspecified }
  }

  private func readBlocks(
    _ handle: UInt64, at offset: UInt64, data: UInt64, count: UInt64
  ) throws(GuestAddressError) -> Status {
    guard let block = try block(handle, at: offset, data: data, count: count) else { return .invalid }
    let bytes: [UInt8]
    do throws(BlockError) {
      bytes = try block.read(at: offset, count: Int(count))
    } catch { return error == .outOfRange ? .invalid : .unspecified }
    try memory.write(bytes, at: data)
    return .ok
  }

  /// The device that a transfer is for; nil where it is refused.
  private func block(
    _ handle: UInt64, at offset: UInt64, data: UInt64, count: UInt64
  ) throws(GuestAddressError) -> BlockOverlay? {
    guard let block = blocks[handle], offset < block.capacity, count <= Self.transferLimit else { return nil }
    try memory.check(data, count: count)
    return block
  }
}

/// The structure that a hypercall points to.
private struct Structure {
  let memory: GuestRAM
  let address: UInt64

  /// A copy of its first `count` 64-bit words.
  func words(_ count: Int) throws(GuestAddressError) -> [UInt64] {
    let bytes = try memory.read(at: address, count: 8 * count)
    return (0..<count).map { word in
      var number: UInt64 = 0
      for byte in bytes[8 * word..<8 * word + 8].reversed() { number = number << 8 | UInt64(byte) }
      return number
    }
  }

  func put<Number: FixedWidthInteger>(_ number: Number, at offset: UInt64) throws(GuestAddressError) {
    let bytes = (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> Number(8 * $0)) }
    // It is a 32-bit address: nothing overflows.
    try memory.write(bytes, at: address + offset)
  }
}

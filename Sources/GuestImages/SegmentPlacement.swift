/// Why something of an image has no place in a VM's memory.
public enum PlacementError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The segment with that number ends beyond the VM's memory.
  case segmentBeyondMemory(Int, address: UInt64, bytes: UInt64, memoryBytes: UInt64)
  /// The segment with that number lies where the VM has what the guest finds when it starts.
  case segmentReserved(Int, address: UInt64, bytes: UInt64, reserved: Range<UInt64>)
  /// Between the kernel and the end of memory there is less room than the initramfs needs.
  case noRoomForInitramfs(bytes: UInt64, memoryBytes: UInt64)
  /// The image's own command line is no command line.
  case commandLine(GuestArgumentsError)

  /// What is wrong and what to do, in sentences.
  public var description: String {
    switch self {
    case .segmentBeyondMemory(let number, let address, let bytes, let memoryBytes):
      """
      Segment \(number), \(bytes) bytes at \(hex(address)), ends beyond the \(memoryBytes) bytes of memory. Give the \
      VM more memory or link the segment lower.
      """
    case .segmentReserved(let number, let address, let bytes, let reserved):
      """
      Segment \(number), \(bytes) bytes at \(hex(address)), overlaps \(hex(reserved.lowerBound)) to \
      \(hex(reserved.upperBound - 1)), where the guest finds what it starts with. Link it elsewhere.
      """
    case .noRoomForInitramfs(let bytes, let memoryBytes):
      """
      The initramfs of \(bytes) bytes does not fit between the kernel and the end of the \(memoryBytes) bytes of \
      memory. Give the VM more memory.
      """
    case .commandLine(let error):
      "\(error)"
    }
  }
}

private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

/// What is taken out of one file, or is zero, and its place in memory.
struct LoadedSegment: Sendable, Equatable {
  let number: Int
  /// The guest-physical address of its first byte.
  let address: UInt64
  /// Where its bytes are in the file, which has them.
  let offset: UInt64
  let fileBytes: UInt64
  /// Those beyond the file's are zero. They end before the last address.
  let memoryBytes: UInt64
  /// `r`, `w` and `x`, as far as they apply.
  let access: String

  /// The first address after it.
  var end: UInt64 { address + memoryBytes }

  var description: ImageDescription.Segment {
    .init(address: address, fileBytes: fileBytes, memoryBytes: memoryBytes, access: access)
  }
}

extension LoadedSegment {
  /// A segment that `ELFFile.loaded` found sound.
  init(_ segment: ELFFile.Segment) {
    self.init(
      number: segment.number, address: segment.physicalAddress, offset: segment.offset, fileBytes: segment.fileBytes,
      memoryBytes: segment.memoryBytes, access: segment.access)
  }
}

extension [LoadedSegment] {
  /// What to put into a VM's memory, whose `reserved` parts are taken already. What is zero is not put there: all memory
  /// is at first.
  func placed(
    _ file: ImagePart, memoryBytes: UInt64, reserved: [Range<UInt64>]
  ) throws(PlacementError) -> [GuestSegment] {
    var placed: [GuestSegment] = []
    for segment in self {
      guard segment.end <= memoryBytes else {
        throw .segmentBeyondMemory(
          segment.number, address: segment.address, bytes: segment.memoryBytes, memoryBytes: memoryBytes)
      }
      for range in reserved where segment.end > range.lowerBound && segment.address < range.upperBound {
        throw .segmentReserved(segment.number, address: segment.address, bytes: segment.memoryBytes, reserved: range)
      }
      guard segment.fileBytes > 0 else { continue }
      placed.append(
        GuestSegment(address: segment.address, part: file, offset: segment.offset, count: segment.fileBytes))
    }
    return placed
  }

  /// The highest page at which `initramfs` fits above them.
  func place(of initramfs: ImagePart, memoryBytes: UInt64) throws(PlacementError) -> UInt64 {
    let lowest = reduce(PCPlatform.highMemory) { Swift.max($0, $1.end) }
    let refusal = PlacementError.noRoomForInitramfs(bytes: initramfs.count, memoryBytes: memoryBytes)
    guard initramfs.count <= memoryBytes else { throw refusal }
    let address = (memoryBytes - initramfs.count) & ~0xFFF
    guard address >= lowest else { throw refusal }
    return address
  }
}

/// Why something of an image has no place in a VM's memory.
public enum PlacementError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The segment with that number ends beyond what the guest reaches when it starts.
  case segmentBeyondReach(Int, address: UInt64, bytes: UInt64, reach: UInt64)
  /// The segment with that number lies where the VM has what the guest finds when it starts.
  case segmentReserved(Int, address: UInt64, bytes: UInt64, reserved: Range<UInt64>)
  /// Between the kernel and the end of memory, or of what the kernel reaches, there is less room than the modules need.
  case noRoomForModules(bytes: UInt64, memoryBytes: UInt64)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .segmentBeyondReach(let number, let address, let bytes, let reach):
      """
      Segment \(number), \(bytes) bytes at \(hex(address)), ends beyond \(hex(reach)), as far as the guest reaches \
      when it starts. Link the segment lower.
      """
    case .segmentReserved(let number, let address, let bytes, let reserved):
      """
      Segment \(number), \(bytes) bytes at \(hex(address)), overlaps \(hex(reserved.lowerBound)) to \
      \(hex(reserved.upperBound - 1)), where the guest finds what it starts with. Link it elsewhere.
      """
    case .noRoomForModules(let bytes, let memoryBytes):
      """
      The initramfs and modules, \(bytes) bytes in pages of their own, do not fit between the kernel and \
      \(hex(memoryBytes)), the end of the memory that the kernel reaches. Make them smaller.
      """
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
  /// What to put into a VM's memory, which is large enough, below `reach` and outside of `reserved`. Zeros are not put there:
  /// memory is zero at first.
  func placed(
    _ file: ImagePart, reach: UInt64, reserved: [Range<UInt64>]
  ) throws(PlacementError) -> [GuestSegment] {
    var placed: [GuestSegment] = []
    for segment in self {
      guard segment.end <= reach else {
        throw .segmentBeyondReach(
          segment.number, address: segment.address, bytes: segment.memoryBytes, reach: reach)
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
}

import GuestMemory

/// Why a block device could not do what it was asked.
public enum BlockError: Error, Sendable, Equatable {
  /// The range is not wholly inside the device.
  case outOfRange
  /// The image's bytes cannot be read.
  case unreadable
  /// The VM's devices keep as much as they may.
  case overlayFull
}

/// What a block device holds at first. It never changes.
public protocol BlockContents: Sendable {
  /// Bytes.
  var count: UInt64 { get }

  /// A copy of `count` bytes from `offset` on, which exist.
  func read(at offset: UInt64, count: Int) throws(BlockError) -> [UInt8]
}

/// A block device that a guest may write to. Its writes are seen by its VM alone: they are kept in the VM's `OverlayMemory`,
/// and are gone with it. Any thread.
public final class BlockOverlay: Sendable {
  private let base: any BlockContents
  private let memory: OverlayMemory
  /// The number of the device's first chunk in `memory`.
  private let firstChunk: UInt64

  /// A device that holds what `base` holds. Its chunks in `memory` begin at `firstChunk`.
  public init(_ base: any BlockContents, memory: OverlayMemory, firstChunk: UInt64) {
    self.base = base
    self.memory = memory
    self.firstChunk = firstChunk
  }

  /// Bytes.
  public var capacity: UInt64 { base.count }

  /// A copy of `count` bytes from `offset` on. Any numbers.
  public func read(at offset: UInt64, count: Int) throws(BlockError) -> [UInt8] {
    let range = try range(offset, UInt64(max(count, 0)))
    var bytes = try base.read(at: offset, count: count)
    for piece in Self.pieces(of: range) {
      guard let kept = memory.read(chunk: firstChunk + piece.chunk, range: piece.inChunk) else { continue }
      let start = Int(piece.start - offset)
      bytes.replaceSubrange(start..<start + kept.count, with: kept)
    }
    return bytes
  }

  /// Writes `bytes` from `offset` on. When it fails, the first of them may have been written. Any number.
  public func write(_ bytes: [UInt8], at offset: UInt64) throws(BlockError) {
    for piece in Self.pieces(of: try range(offset, UInt64(bytes.count))) {
      let chunk = firstChunk + piece.chunk
      var contents: [UInt8] = []
      if !memory.holds(chunk: chunk) {
        let start = piece.chunk * OverlayMemory.chunkBytes
        contents = try base.read(at: start, count: Int(min(OverlayMemory.chunkBytes, capacity - start)))
      }
      let first = Int(piece.start - offset)
      let isKept = memory.write(
        bytes[first..<first + piece.inChunk.count], at: piece.inChunk.lowerBound, chunk: chunk, base: contents)
      guard isKept else { throw .overlayFull }
    }
  }

  private func range(_ offset: UInt64, _ count: UInt64) throws(BlockError) -> Range<UInt64> {
    guard offset <= capacity, count <= capacity - offset else { throw .outOfRange }
    return offset..<offset + count
  }

  /// What a range has of each chunk.
  private static func pieces(of range: Range<UInt64>) -> [(chunk: UInt64, start: UInt64, inChunk: Range<Int>)] {
    let size = OverlayMemory.chunkBytes
    guard !range.isEmpty else { return [] }
    return (range.lowerBound / size...(range.upperBound - 1) / size).map { chunk in
      let shared = range.clamped(to: chunk * size..<(chunk + 1) * size)
      return (chunk, shared.lowerBound, Int(shared.lowerBound - chunk * size)..<Int(shared.upperBound - chunk * size))
    }
  }
}

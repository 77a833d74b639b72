import Synchronization

/// Why a block device could not do what it was asked.
public enum BlockError: Error, Sendable, Equatable {
  /// The range is not wholly inside the device.
  case outOfRange
  /// What it was made from cannot be read.
  case unreadable
  /// No more may be written than was.
  case overlayFull
}

/// What a block device holds at first, and what nobody changes.
public protocol BlockContents: Sendable {
  /// Bytes.
  var count: UInt64 { get }

  /// A copy of `count` bytes from `offset` on, which are there.
  func read(at offset: UInt64, count: Int) throws(BlockError) -> [UInt8]
}

/// How much the block devices of one VM may keep of what their guest wrote. Any thread.
public final class OverlayBudget: Sendable {
  private let left: Mutex<UInt64>

  /// `bytes` for all of them together.
  public init(bytes: UInt64) { left = Mutex(bytes) }

  /// Takes `bytes`, or nothing.
  func take(_ bytes: UInt64) -> Bool {
    left.withLock { left in
      guard bytes <= left else { return false }
      left -= bytes
      return true
    }
  }
}

/// A block device that a guest may write to, and that nobody else sees the changes of: they are kept in memory beside
/// what it was made from, and are gone with it. Any thread.
public final class BlockOverlay: Sendable {
  private static let chunkBytes: UInt64 = 4096

  private let base: any BlockContents
  private let budget: OverlayBudget
  /// What was written, by the number of its 4 KiB; the last of a device may be shorter. A leaf lock, under which the base
  /// is read.
  private let written = Mutex<[UInt64: [UInt8]]>([:])

  /// A device that holds what `base` holds.
  public init(_ base: any BlockContents, budget: OverlayBudget) {
    self.base = base
    self.budget = budget
  }

  /// Bytes.
  public var capacity: UInt64 { base.count }

  /// A copy of `count` bytes from `offset` on. Any numbers.
  public func read(at offset: UInt64, count: Int) throws(BlockError) -> [UInt8] {
    let range = try range(offset, UInt64(max(count, 0)))
    var bytes = try base.read(at: offset, count: count)
    written.withLock { written in
      guard !written.isEmpty else { return }
      for number in Self.chunks(of: range) {
        guard let chunk = written[number] else { continue }
        let start = number * Self.chunkBytes
        let shared = range.clamped(to: start..<start + UInt64(chunk.count))
        bytes.replaceSubrange(
          Int(shared.lowerBound - offset)..<Int(shared.upperBound - offset),
          with: chunk[Int(shared.lowerBound - start)..<Int(shared.upperBound - start)])
      }
    }
    return bytes
  }

  /// Writes `bytes` from `offset` on. When it fails, the first of them may have been written. Any number.
  public func write(_ bytes: [UInt8], at offset: UInt64) throws(BlockError) {
    let range = try range(offset, UInt64(bytes.count))
    try written.withLock { written -> Result<Void, BlockError> in
      do throws(BlockError) {
        for number in Self.chunks(of: range) {
          let start = number * Self.chunkBytes
          let length = min(Self.chunkBytes, capacity - start)
          let shared = range.clamped(to: start..<start + length)
          if written[number] == nil {
            guard budget.take(Self.chunkBytes) else { throw .overlayFull }
            written[number] = try base.read(at: start, count: Int(length))
          }
          written[number]?.replaceSubrange(
            Int(shared.lowerBound - start)..<Int(shared.upperBound - start),
            with: bytes[Int(shared.lowerBound - offset)..<Int(shared.upperBound - offset)])
        }
        return .success(())
      } catch { return .failure(error) }
    }.get()
  }

  private func range(_ offset: UInt64, _ count: UInt64) throws(BlockError) -> Range<UInt64> {
    guard offset <= capacity, count <= capacity - offset else { throw .outOfRange }
    return offset..<offset + count
  }

  private static func chunks(of range: Range<UInt64>) -> Range<UInt64> {
    guard !range.isEmpty else { return 0..<0 }
    return range.lowerBound / chunkBytes..<(range.upperBound - 1) / chunkBytes + 1
  }
}

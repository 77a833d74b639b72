import Synchronization

/// What a VM's guest wrote to its block devices, in 4 KiB chunks: one mapping for all devices, of a size that is known
/// before the guest runs. Any thread, until the owner calls `unmap`.
///
/// The mapping begins with an index of 4 bytes for each chunk of each device: 0, or the number of the slot that holds the
/// chunk, counted from 1. The slots follow. They are given out in the order of first writes. So a guest that writes here and
/// there touches no more pages than one that writes in a row.
public final class OverlayMemory: Sendable {
  /// Bytes of a chunk.
  public static let chunkBytes: UInt64 = 4096

  /// How large such memory is: for `chunks` chunks in all devices, of which `limitBytes` can be kept.
  public struct Size: Sendable, Equatable {
    /// Chunks of all devices.
    public let chunks: UInt64
    /// Chunks that can be kept.
    public let slots: UInt64

    /// For devices of `capacities` bytes that may keep up to `limitBytes` together.
    public init(capacities: [UInt64], limitBytes: UInt64) {
      chunks = capacities.reduce(0) { $0 + OverlayMemory.chunkCount($1) }
      slots = min(chunks, limitBytes / OverlayMemory.chunkBytes)
    }

    fileprivate var indexBytes: UInt64 { OverlayMemory.chunkCount(chunks * 4) * OverlayMemory.chunkBytes }
    /// Bytes of the host's memory that it can take.
    public var bytes: UInt64 { indexBytes + slots * OverlayMemory.chunkBytes }
  }

  /// How many chunks `bytes` bytes take; the last may be shorter.
  public static func chunkCount(_ bytes: UInt64) -> UInt64 { bytes / chunkBytes + (bytes % chunkBytes == 0 ? 0 : 1) }

  private let size: Size
  private let mapping: PrivateMapping
  /// What was written at first, and in how many slots: nothing, but for a clone.
  private let first: (contents: TemplateMemory, slotsUsed: UInt64)?
  /// Guards the index and the slots, and counts the slots in use. A leaf lock.
  private let slotsUsed = Mutex<UInt64>(0)

  /// Maps memory of that size, which is not 0.
  public init(_ size: Size) throws(MappingError) {
    self.size = size
    mapping = try PrivateMapping(size: Int(size.bytes))
    first = nil
  }

  /// What a guest has written, frozen.
  public struct Template: Sendable {
    let size: Size
    let contents: TemplateMemory
    let slotsUsed: UInt64
  }

  /// Freezes a copy of what was written. The VM stands still.
  public func frozen() throws(MappingError) -> Template {
    let used = slotsUsed.withLock { $0 }
    return Template(size: size, contents: try TemplateMemory(copying: mapping), slotsUsed: used)
  }

  /// Maps a copy of `template`.
  public init(cloning template: Template) throws(MappingError) {
    size = template.size
    mapping = try PrivateMapping(size: Int(size.bytes), of: template.contents.descriptor)
    first = (template.contents, template.slotsUsed)
    slotsUsed.withLock { $0 = template.slotsUsed }
  }

  /// Bytes that the host holds in memory. Any thread; after `unmap` it is 0.
  public var residentBytes: Int { mapping.residentBytes }

  /// Gives the memory back to the host. By the owner, once no vCPU thread is left.
  public func unmap() { mapping.unmap() }

  /// Forgets all that was written, but for what a clone began with.
  public func discard() {
    slotsUsed.withLock { used in
      mapping.discard()
      used = first?.slotsUsed ?? 0
    }
  }

  /// The bytes kept of `chunk`; nil where none are.
  public func read(chunk: UInt64, range: Range<Int>) -> [UInt8]? {
    slotsUsed.withLock { _ in
      guard let offset = offset(of: chunk) else { return nil }
      return mapping.read(at: offset + range.lowerBound, count: range.count)
    }
  }

  /// Whether `chunk` is kept already.
  public func holds(chunk: UInt64) -> Bool { slotsUsed.withLock { _ in offset(of: chunk) != nil } }

  /// Writes `bytes` at `start` of `chunk`. Where the chunk is not kept yet, `base` are its other bytes.
  /// - Returns: whether there was a slot.
  public func write(_ bytes: ArraySlice<UInt8>, at start: Int, chunk: UInt64, base: [UInt8]) -> Bool {
    slotsUsed.withLock { used in
      if let offset = offset(of: chunk) {
        mapping.write(bytes, at: offset + start)
        return true
      }
      guard chunk < size.chunks, used < size.slots, mapping.size > 0 else { return false }
      used += 1
      mapping[number: Int(chunk) * 4] = UInt32(used)
      let offset = slotOffset(used)
      mapping.write(base[...], at: offset)
      mapping.write(bytes, at: offset + start)
      return true
    }
  }

  private func slotOffset(_ slot: UInt64) -> Int { Int(size.indexBytes + (slot - 1) * Self.chunkBytes) }

  private func offset(of chunk: UInt64) -> Int? {
    guard chunk < size.chunks, mapping.size > 0 else { return nil }
    let slot = mapping[number: Int(chunk) * 4]
    return slot == 0 ? nil : slotOffset(UInt64(slot))
  }
}

/// Why bytes of an image could not be read.
public struct ImageReadError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The first byte that was wanted.
  public let offset: UInt64
  /// How many were wanted.
  public let count: UInt64
  /// The cause.
  public let reason: String

  /// The bytes that were wanted, and why they are not to be had.
  public init(offset: UInt64, count: UInt64, reason: String) {
    self.offset = offset
    self.count = count
    self.reason = reason
  }

  /// What happened.
  public var description: String { "bytes \(offset) to \(offset &+ count) of the image cannot be read: \(reason)" }
}

/// The bytes of an image's part, wherever they are. Any thread; they never change.
public protocol ImageBytes: Sendable {
  /// How many there are.
  var count: UInt64 { get }

  /// Fills `target` with the bytes from `offset` on. `ImagePart` asks for bytes that exist only.
  func read(at offset: UInt64, into target: inout MutableRawSpan) throws(ImageReadError)

  /// Whether the others are known to be the same bytes: without reading a large file.
  func isSame(as other: any ImageBytes) -> Bool
}

/// Bytes in memory.
struct MemoryBytes: ImageBytes, Equatable {
  let bytes: [UInt8]

  var count: UInt64 { UInt64(bytes.count) }

  func read(at offset: UInt64, into target: inout MutableRawSpan) throws(ImageReadError) {
    let wanted = bytes.dropFirst(Int(offset)).prefix(target.byteCount)
    // Safe: as many bytes as the span has, copied into it.
    unsafe target.withUnsafeMutableBytes { unsafe $0.copyBytes(from: wanted) }
  }

  func isSame(as other: any ImageBytes) -> Bool { (other as? MemoryBytes) == self }
}

/// One part of an image, such as a kernel or an initramfs: bytes, looked at with checks.
public struct ImagePart: Sendable, Equatable {
  private let source: any ImageBytes

  /// The bytes that `source` has.
  public init(_ source: any ImageBytes) { self.source = source }

  /// Bytes in memory.
  public init(_ bytes: [UInt8]) { source = MemoryBytes(bytes: bytes) }

  /// How many bytes it has.
  public var count: UInt64 { source.count }

  /// Whether it has `count` bytes from `offset` on. Any numbers.
  public func contains(offset: UInt64, count: UInt64) -> Bool { offset <= self.count && count <= self.count - offset }

  /// Fills `target` with the bytes from `offset` on.
  public func read(at offset: UInt64, into target: inout MutableRawSpan) throws(ImageReadError) {
    let wanted = UInt64(target.byteCount)
    guard contains(offset: offset, count: wanted) else {
      throw ImageReadError(offset: offset, count: wanted, reason: "it has only \(count)")
    }
    guard wanted > 0 else { return }
    try source.read(at: offset, into: &target)
  }

  /// A copy of `count` bytes from `offset` on: for headers, not for what is loaded.
  public func bytes(at offset: UInt64, count: Int) throws(ImageReadError) -> [UInt8] {
    guard contains(offset: offset, count: UInt64(max(count, 0))) else {
      throw ImageReadError(offset: offset, count: UInt64(max(count, 0)), reason: "it has only \(self.count)")
    }
    var bytes = [UInt8](repeating: 0, count: max(count, 0))
    var target = bytes.mutableSpan
    var raw = unsafe target.mutableBytes  // Safe: all bytes are valid elements.
    try read(at: offset, into: &raw)
    return bytes
  }

  /// Whether both are known to be the same bytes.
  public static func == (left: ImagePart, right: ImagePart) -> Bool { left.source.isSame(as: right.source) }
}

extension Array where Element == UInt8 {
  /// The little-endian integer at `offset`; nil where the array ends before it does.
  func littleEndian<Number: FixedWidthInteger & UnsignedInteger>(_ type: Number.Type, at offset: Int) -> Number? {
    let size = Number.bitWidth / 8
    guard offset >= 0, offset <= count, count - offset >= size else { return nil }
    return (0..<size).reduce(Number(0)) { $0 | Number(truncatingIfNeeded: self[offset + $1]) << Number(8 * $1) }
  }

  /// The bytes of `number`, the lowest first.
  init<Number: FixedWidthInteger & UnsignedInteger>(littleEndian number: Number) {
    self = (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> Number(8 * $0)) }
  }
}

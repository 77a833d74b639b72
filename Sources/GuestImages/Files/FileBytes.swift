import LinuxSupport
import SystemPackage

/// The bytes of a file that does not change.
public struct FileBytes: ImageBytes {
  private let file: ReadableFile
  /// A name for the bytes, such as their digest: equal for equal bytes.
  public let identity: String

  /// The bytes of `file`, named `identity`.
  public init(_ file: ReadableFile, identity: String) {
    self.file = file
    self.identity = identity
  }

  /// As it was when the file was opened.
  public var count: UInt64 { file.size }

  /// Copies out of the page cache, once.
  public func read(at offset: UInt64, into target: inout MutableRawSpan) throws(ImageReadError) {
    let wanted = UInt64(target.byteCount)
    let found: Int
    do throws(Errno) {
      found = try file.read(at: offset, into: &target)
    } catch {
      throw ImageReadError(offset: offset, count: wanted, reason: "\(error)")
    }
    guard UInt64(found) == wanted else {
      throw ImageReadError(offset: offset, count: wanted, reason: "the file has become shorter")
    }
  }

  /// Whether both have the same identity.
  public func isSame(as other: any ImageBytes) -> Bool { (other as? FileBytes)?.identity == identity }
}

import LinuxSupport
import SystemPackage

/// A file on its way to a client, read as the client takes it. Used on its connection's thread only.
final class FileTransfer {
  private let file: ReadableFile
  /// Bytes given to libmicrohttpd so far.
  private(set) var given = 0

  init(_ file: ReadableFile) { self.file = file }

  var size: UInt64 { file.size }

  /// Fills the buffer as far as there are bytes; nil when they cannot be read any more.
  func read(at position: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
    // Safe: the buffer is libmicrohttpd's for the call.
    var target = unsafe buffer.mutableBytes
    // A file that became shorter must not end as if it were whole.
    guard let count = try? file.read(at: position, into: &target), count > 0 else { return nil }
    given += count
    return count
  }
}

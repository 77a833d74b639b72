import LinuxSupport
import SystemPackage

/// A file on its way to a client, read as the client takes it. Used on its connection's thread only.
final class FileTransfer {
  private let file: ReadableFile
  private unowned let connection: Connection
  private var progress = TransferProgress()

  init(_ file: ReadableFile, _ connection: Connection) {
    self.file = file
    self.connection = connection
  }

  var size: UInt64 { file.size }

  /// Fills the buffer as far as there are bytes; nil when they cannot be read any more.
  func read(at position: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
    if progress.isDue(at: Int(clamping: position)) { connection.renewDeadline() }
    // Safe: the buffer is libmicrohttpd's for the call.
    var target = unsafe buffer.mutableBytes
    // A file that became shorter must not end as if it were whole.
    guard let count = try? file.read(at: position, into: &target), count > 0 else { return nil }
    return count
  }
}

/// Tells when so much of a long body has come or gone that its client deserves more time.
struct TransferProgress {
  private static let step = 256 << 10
  private var next = step

  mutating func isDue(at count: Int) -> Bool {
    guard count >= next else { return false }
    next = count + Self.step
    return true
  }
}

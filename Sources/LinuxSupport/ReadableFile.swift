import Glibc
public import SystemPackage

/// A regular file, open for reading. Any thread; closed when the last user lets go of it.
public final class ReadableFile: Sendable {
  private let descriptor: OwnedDescriptor
  /// Bytes, when it was opened.
  public let size: UInt64

  /// Opens the file at `path`. Throws EINVAL when it is not a regular file.
  public convenience init(path: String) throws(Errno) {
    // Safe: the string lives for the call. O_NONBLOCK: what is no regular file must not make us wait.
    let result = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    try self.init(OwnedDescriptor(result: result < 0 ? -errno : result))
  }

  /// Takes over `descriptor`, of a regular file that is open for reading.
  public init(_ descriptor: consuming OwnedDescriptor) throws(Errno) {
    var status = stat()
    // Safe: a local, filled by the call.
    guard unsafe fstat(descriptor.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .invalidArgument }
    self.descriptor = descriptor
    size = UInt64(status.st_size)
  }

  /// Fills `target` with the bytes from `offset` on, as far as there are any; returns how many.
  ///
  /// The corresponding C function is pread(2).
  public func read(at offset: UInt64, into target: inout MutableRawSpan) throws(Errno) -> Int {
    var done = 0
    while done < target.byteCount {
      // Safe: the kernel writes inside the span, which is the caller's alone.
      let result = unsafe target.withUnsafeMutableBytes { buffer in
        unsafe pread(
          descriptor.rawValue, buffer.baseAddress?.advanced(by: done), buffer.count - done,
          off_t(clamping: offset) + off_t(done))
      }
      if result == 0 { break }
      if result > 0 {
        done += result
      } else if errno != EINTR {
        throw Errno(rawValue: errno)
      }
    }
    return done
  }
}

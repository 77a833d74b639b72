import Digests
import Glibc
import LinuxSupport
import SystemPackage

/// The files of a blob store: whole blobs under their hex digits, and below `partial` those that are not whole yet.
///
/// A complete blob's mtime is set to an impossible value, which any write resets. So the store need not read a blob with
/// that mtime to know that it is as it was when it was verified. There are two such values, by whether a client awaits it.
struct BlobDirectory: ~Copyable, Sendable {
  let path: String
  private let blobs: OwnedDescriptor
  private let partial: OwnedDescriptor
  private let step: @Sendable (Step) throws(Errno) -> Void

  /// What happens to files, one after the other, for tests that let the process end or a call fail there.
  enum Step: String, CaseIterable {
    case create, write, mark, flush, publish, flushDirectory, moveAway, unlink
  }

  /// What a file's mtime says of a blob.
  enum Mark: Int {
    case verified = 1
    /// Verified, and a client put it to store an image of it.
    case awaited = 2
  }

  /// Opens the directory, making it where it is missing.
  init(_ path: String, _ step: @escaping @Sendable (Step) throws(Errno) -> Void) throws(Errno) {
    // Safe: paths live for the call.
    guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else { throw Errno(rawValue: errno) }
    // An operator may have put a link to a larger disk there.
    let directory = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw Errno(rawValue: errno) }
    let blobs = OwnedDescriptor(owning: directory)
    guard unsafe mkdirat(blobs.rawValue, "partial", 0o700) == 0 || errno == EEXIST else {
      throw Errno(rawValue: errno)
    }
    partial = try Self.opened(blobs, "partial", O_RDONLY | O_DIRECTORY)
    self.path = path
    self.step = step
    self.blobs = blobs
  }

  /// Opens a file of that name below `partial` for writing, making it where it is missing; `isNew`: without what it had.
  func openPartial(_ name: String, isNew: Bool) throws(Errno) -> OwnedDescriptor {
    try step(.create)
    return try Self.opened(partial, name, O_RDWR | O_CREAT | (isNew ? O_TRUNC : 0))
  }

  /// Opens a whole blob for reading.
  func openBlob(_ digest: SHA256Digest) throws(Errno) -> OwnedDescriptor {
    // O_NONBLOCK: what is no regular file must not make us wait.
    try Self.opened(blobs, digest.hex, O_RDONLY | O_NONBLOCK)
  }

  /// Writes all of `bytes` at `offset`.
  func write(_ bytes: RawSpan, to file: borrowing OwnedDescriptor, at offset: Int) throws(Errno) {
    try step(.write)
    var done = 0
    while done < bytes.byteCount {
      // Safe: the kernel reads as many bytes as the span still has.
      let written = unsafe bytes.extracting(droppingFirst: done).withUnsafeBytes { rest in
        unsafe pwrite(file.rawValue, rest.baseAddress, rest.count, offset + done)
      }
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { throw written == 0 ? .ioError : Errno(rawValue: errno) }
      done += written
    }
  }

  /// Cuts off what stands behind the first `size` bytes.
  func truncate(_ file: borrowing OwnedDescriptor, to size: Int) throws(Errno) {
    try step(.write)
    guard ftruncate(file.rawValue, size) == 0 else { throw Errno(rawValue: errno) }
  }

  /// The first `count` bytes of a file, or as many as it has.
  static func head(of file: borrowing OwnedDescriptor, _ count: Int) throws(Errno) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      // Safe: as many bytes are asked for as there is room for.
      let read = unsafe buffer.withUnsafeMutableBytes {
        unsafe pread(file.rawValue, $0.baseAddress?.advanced(by: done), count - done, done)
      }
      if read < 0, errno == EINTR { continue }
      guard read >= 0 else { throw Errno(rawValue: errno) }
      if read == 0 { break }
      done += read
    }
    return Array(buffer.prefix(done))
  }

  /// Marks a file that was verified.
  func mark(_ file: borrowing OwnedDescriptor, as mark: Mark) throws(Errno) {
    try step(.mark)
    let times = [timespec](repeating: timespec(tv_sec: mark.rawValue, tv_nsec: 0), count: 2)
    // Safe: futimens reads two times.
    guard fchmod(file.rawValue, 0o400) == 0, unsafe futimens(file.rawValue, times) == 0 else {
      throw Errno(rawValue: errno)
    }
  }

  /// Marks a file as verified and forces it to the disk.
  func seal(_ file: borrowing OwnedDescriptor, as mark: Mark) throws(Errno) {
    try self.mark(file, as: mark)
    try step(.flush)
    guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Makes a sealed file of `partial` a whole blob.
  func publish(_ name: String, as digest: SHA256Digest) throws(Errno) {
    try step(.publish)
    // Safe: both names live for the call.
    guard unsafe renameat(partial.rawValue, name, blobs.rawValue, digest.hex) == 0 else {
      throw Errno(rawValue: errno)
    }
  }

  /// Forces the names of whole blobs to the disk.
  func flushNames() throws(Errno) {
    try step(.flushDirectory)
    guard fsync(blobs.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Gives a whole blob a name below `partial`. It is gone then, while freeing its space may take a while.
  func moveAway(_ digest: SHA256Digest, to name: String) throws(Errno) {
    try step(.moveAway)
    // Safe: both names live for the call.
    guard unsafe renameat(blobs.rawValue, digest.hex, partial.rawValue, name) == 0 || errno == ENOENT else {
      throw Errno(rawValue: errno)
    }
  }

  /// Removes a file below `partial`. One that stays is found by the sweep at the next start.
  func unlinkPartial(_ name: String) {
    guard (try? step(.unlink)) != nil else { return }
    // Safe: the name lives for the call.
    unsafe unlinkat(partial.rawValue, name, 0)
  }

  /// The names of the whole blobs' files, and of those below `partial`.
  func names() throws(Errno) -> (blobs: [String], partial: [String]) {
    (try Self.names(in: blobs), try Self.names(in: partial))
  }

  /// Whether a file below `partial` is there, its size, and when it was last written, in Unix milliseconds.
  func partialStatus(_ name: String) -> (size: Int, changedMS: Int)? {
    var status = stat()
    // Safe: the name lives for the call, and the kernel fills one whole stat structure.
    guard unsafe fstatat(partial.rawValue, name, &status, AT_SYMLINK_NOFOLLOW) == 0,
      status.st_mode & S_IFMT == S_IFREG
    else { return nil }
    return (Int(status.st_size), status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1_000_000)
  }

  /// A file's size, and its mark if it was verified and no byte was written since.
  static func status(of file: borrowing OwnedDescriptor) throws(Errno) -> (size: Int, mark: Mark?) {
    var status = stat()
    // Safe: the kernel fills one whole stat structure.
    guard unsafe fstat(file.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .invalidArgument }
    return (Int(status.st_size), status.st_mtim.tv_nsec == 0 ? Mark(rawValue: status.st_mtim.tv_sec) : nil)
  }

  /// Reads a whole file, a piece at a time.
  static func digest(of file: borrowing OwnedDescriptor) throws(Errno) -> (digest: SHA256Digest, size: Int) {
    var hasher = SHA256Hasher()
    var buffer = [UInt8](repeating: 0, count: 256 << 10)
    var size = 0
    while true {
      // Safe: as many bytes are asked for as there is room for.
      let count = unsafe buffer.withUnsafeMutableBytes {
        unsafe pread(file.rawValue, $0.baseAddress, $0.count, size)
      }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Errno(rawValue: errno) }
      if count == 0 { return (hasher.digest(), size) }
      hasher.update(unsafe buffer.span.bytes.extracting(first: count))
      size += count
    }
  }

  private static func opened(
    _ directory: borrowing OwnedDescriptor, _ name: String, _ flags: Int32
  ) throws(Errno) -> OwnedDescriptor {
    // Safe: the name lives for the call.
    let descriptor = unsafe openat(directory.rawValue, name, flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    return OwnedDescriptor(owning: descriptor)
  }

  private static func names(in directory: borrowing OwnedDescriptor) throws(Errno) -> [String] {
    // A descriptor of its own, since reading moves its position and closing the stream closes it.
    // Safe: this function alone uses the stream, from fdopendir(3) to closedir(3).
    let copy = unsafe openat(directory.rawValue, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard copy >= 0, let stream = unsafe fdopendir(copy) else { throw Errno(rawValue: errno) }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      // Safe: the name ends with a NUL, and is copied before the next call.
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}

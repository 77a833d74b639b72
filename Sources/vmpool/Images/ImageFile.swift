import ArgumentParser
import CommandLineSupport
import Digests
import Glibc
import GuestImages
import LinuxSupport
import SystemPackage

/// A file of this machine with its digest.
struct ImageFile {
  let path: String
  let file: ReadableFile
  let digest: SHA256Digest
  /// False for a pipe, a device or stdin, whose bytes were copied. They can be read only once, and an upload needs their
  /// digest before it begins.
  let isRegular: Bool

  /// Reads all of it; `-` is stdin. Reports a file that cannot be read, and throws exit status 66. A pipe or a device that
  /// has more than `limit` bytes, such as /dev/zero, is 65.
  init(_ path: String, limit: Int) throws(ExitCode) {
    self.path = path
    do throws(Errno) {
      (file, isRegular) = try Self.open(path, limit: limit)
      digest = try Self.digest(of: file)
    } catch {
      let name = path == "-" ? "stdin" : path
      guard error == .fileTooLarge else {
        StandardError.complain("\(name) cannot be read: \(error)")
        throw ExitCode(66)
      }
      StandardError.complain("\(name) has more than the \(limit) bytes that a file of an image may have")
      throw ExitCode(65)
    }
  }

  /// An initramfs: a file as it is, or a directory packed. Reports one that cannot be read or packed, and throws exit
  /// status 66, 65 or 73. `namesProgram` says that the command line names the program that the kernel starts.
  static func initramfs(_ path: String, namesProgram: Bool, limit: Int) throws(ExitCode) -> ImageFile {
    guard isDirectory(path) else { return try ImageFile(path, limit: limit) }
    let file = try ImageFile(packing: path)
    if !namesProgram && !InitramfsArchive.hasInit(path) {
      StandardError.complain(
        "\(path) has no /init, which a kernel starts; add one, or name a program with rdinit=/bin/sh on the command line"
      )
    }
    return file
  }

  private init(packing directory: String) throws(ExitCode) {
    path = directory
    isRegular = false
    do throws(Failure) {
      file = try InitramfsArchive.packed(directory)
    } catch {
      StandardError.complain(error.message)
      throw error.status
    }
    do throws(Errno) {
      digest = try Self.digest(of: file)
    } catch {
      StandardError.complain("\(directory) cannot be packed: \(error)")
      throw ExitCode(66)
    }
  }

  /// The file as a part of an image.
  var part: ImagePart { ImagePart(FileBytes(file, identity: digest.description)) }

  private static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    // Safe: the structure is a local, and the string lives for the call.
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  private static func open(_ path: String, limit: Int) throws(Errno) -> (ReadableFile, isRegular: Bool) {
    if path == "-" { return try open(STDIN_FILENO, limit: limit) }
    // Safe: the string lives for the call.
    let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    defer { close(descriptor) }
    return try open(descriptor, limit: limit)
  }

  private static func open(_ descriptor: Int32, limit: Int) throws(Errno) -> (ReadableFile, isRegular: Bool) {
    var status = stat()
    // Safe: a local, filled by the call.
    guard unsafe fstat(descriptor, &status) == 0 else { throw Errno(rawValue: errno) }
    if status.st_mode & S_IFMT == S_IFDIR { throw .isDirectory }
    if status.st_mode & S_IFMT != S_IFREG { return (try copy(of: descriptor, limit: limit), false) }
    let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    return (try ReadableFile(OwnedDescriptor(result: own < 0 ? -errno : own)), true)
  }

  /// Copies what a pipe or a device still has into a file without a name, in $TMPDIR. Right behind the limit it gives up,
  /// with `fileTooLarge`.
  private static func copy(of descriptor: Int32, limit: Int) throws(Errno) -> ReadableFile {
    // /var/tmp is for large files.
    let (path, result) = openTemporaryFile(in: environment("TMPDIR") ?? "/var/tmp")
    let copy = try OwnedDescriptor(result: result < 0 ? -errno : result)
    // Safe: the string lives for the call.
    _ = unsafe unlink(path)
    var size = 0
    while true {
      // Safe: the buffer has room for as much as is asked for, and the count is what was filled.
      var count = 0
      let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 256 << 10) { buffer, filled in
        count = unsafe read(descriptor, buffer.baseAddress, 256 << 10)
        filled = max(0, count)
      }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw Errno(rawValue: errno) }
      if count == 0 { return try ReadableFile(copy) }
      size += count
      if size > limit { throw .fileTooLarge }
      guard writeAll(bytes, to: copy.rawValue) else { throw Errno(rawValue: errno) }
    }
  }

  private static func digest(of file: ReadableFile) throws(Errno) -> SHA256Digest {
    var hasher = SHA256Hasher()
    var buffer = [UInt8](repeating: 0, count: 256 << 10)
    var offset: UInt64 = 0
    while true {
      var span = buffer.mutableSpan
      // Safe: any bytes that are written are valid elements.
      var target = unsafe span.mutableBytes
      let count = try file.read(at: offset, into: &target)
      if count == 0 { return hasher.digest() }
      hasher.update(unsafe buffer.span.bytes.extracting(first: count))
      offset += UInt64(count)
    }
  }
}

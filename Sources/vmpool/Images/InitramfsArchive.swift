import CommandLineSupport
import Glibc
import LinuxSupport
import SystemPackage

/// A directory as an initramfs: a cpio archive in the format that kernels unpack ("newc").
///
/// Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst, and init/initramfs.c for its limits.
enum InitramfsArchive {
  /// What help texts say of an initramfs.
  static let help = """
    A directory that is given as an initramfs is packed: owners, modes, links and devices as they are. But what belongs to \
    the user who calls belongs to root in the guest, and file systems that are mounted in the directory are left out.
    """

  /// Packs the directory into a file without a name, in $TMPDIR. Equal directories make equal archives.
  ///
  /// Throws a ``Failure``. Its exit status is 66 for what cannot be read, 65 for what an archive cannot hold, and 73 where
  /// the archive cannot be written.
  static func packed(_ directory: String) throws(Failure) -> ReadableFile {
    let (path, output) = openTemporaryFile(in: environment("TMPDIR") ?? "/var/tmp")
    guard output >= 0 else { throw Failure("\(path) cannot be created: \(errorText(errno))", status: 73) }
    defer { close(output) }
    // Safe: the string lives for the call.
    _ = unsafe unlink(path)
    let entries = try ArchiveEntry.all(of: directory)
    let names = Dictionary(entries.map { ($0.file, 1) }, uniquingKeysWith: +)
    var (left, numbers): (Dictionary, [ArchiveEntry.File: UInt32]) = (names, [:])
    for entry in entries {
      let number = numbers[entry.file] ?? UInt32(numbers.count + 1)
      numbers[entry.file] = number
      // The last of a file's names carries its bytes, as in other programs' archives.
      left[entry.file, default: 1] -= 1
      let hasBytes = left[entry.file] == 0 || entry.target != nil
      let header = entry.header(number: number, links: names[entry.file, default: 1], hasBytes: hasBytes)
      try write(header.bytes, to: output)
      if header.fileBytes > 0 { try writeBytes(of: entry, to: output) }
    }
    try write(ArchiveHeader(name: ArchiveHeader.trailer).bytes, to: output)
    do throws(Errno) { return try readable(output) } catch {
      throw Failure("\(directory) cannot be packed: \(error)", status: 73)
    }
  }

  /// Whether the archive has the program that a kernel looks for first.
  static func hasInit(_ directory: String) -> Bool {
    var status = stat()
    // Safe: the structure is a local, and the string lives for the call.
    return unsafe lstat(directory + "/init", &status) == 0
  }

  /// Writes what a file holds, or the path that a symbolic link has, up to a multiple of four bytes.
  private static func writeBytes(of entry: ArchiveEntry, to output: Int32) throws(Failure) {
    if let target = entry.target { return try write(target.padded, to: output) }
    let file = try entry.open()
    var buffer = [UInt8](repeating: 0, count: 256 << 10)
    var offset: UInt64 = 0
    while offset < entry.size {
      var span = buffer.mutableSpan
      // Safe: any bytes that are written are valid elements.
      var target = unsafe span.mutableBytes
      let count: Int
      do throws(Errno) { count = try file.read(at: offset, into: &target) } catch {
        throw Failure("\(entry.path) cannot be read: \(error)", status: 66)
      }
      guard count > 0 else { throw Failure("\(entry.path) has become shorter; try again", status: 66) }
      let wanted = min(UInt64(count), entry.size - offset)
      offset += wanted
      let piece = Array(buffer.prefix(Int(wanted)))
      try write(offset == entry.size ? piece.padded : piece, to: output)
    }
  }

  private static func write(_ bytes: [UInt8], to output: Int32) throws(Failure) {
    guard writeAll(bytes, to: output) else {
      throw Failure("the initramfs cannot be written: \(errorText(errno)); $TMPDIR names another place", status: 73)
    }
  }
}

/// An entry of a directory that is packed.
struct ArchiveEntry {
  /// A file, which may have several names.
  struct File: Hashable {
    let device: UInt
    let inode: UInt
  }

  /// Where it is on this machine.
  let path: FilePath
  /// Its path in the archive.
  let name: [UInt8]
  /// Bytes that a regular file holds, or the path of a symbolic link.
  let size: UInt64
  /// The path that a symbolic link has.
  let target: [UInt8]?
  private let status: stat

  private static let nameLimit = 4095
  private static let sizeLimit = UInt64(UInt32.max)

  /// Everything below the directory, and the directory itself, by their paths' bytes: directories before what is in them.
  static func all(of directory: String) throws(Failure) -> [ArchiveEntry] {
    let root = try ArchiveEntry(FilePath(directory), name: [UInt8(ascii: ".")], follows: true)
    var (entries, next) = ([root], [root])
    while let folder = next.popLast() {
      for child in try folder.children() {
        entries.append(child)
        if child.isDirectory && child.file.device == root.file.device { next.append(child) }
      }
    }
    return entries.sorted { $0.name.lexicographicallyPrecedes($1.name) }
  }

  private func children() throws(Failure) -> [ArchiveEntry] {
    // Safe, here and below: the path lives for the call, the stream until it is closed, and each name until the next call.
    guard let stream = unsafe path.withPlatformString({ unsafe opendir($0) }) else { throw unreadable() }
    defer { unsafe _ = closedir(stream) }
    var children: [ArchiveEntry] = []
    while true {
      errno = 0
      guard let found = unsafe readdir(stream) else { break }
      let bytes = unsafe withUnsafeBytes(of: &found.pointee.d_name) { name in unsafe Array(name.prefix { $0 != 0 }) }
      if bytes == Array(".".utf8) || bytes == Array("..".utf8) { continue }
      let component = unsafe FilePath(platformString: bytes.map { CChar(bitPattern: $0) } + [0])
      let isRoot = name == [UInt8(ascii: ".")]
      children.append(
        try ArchiveEntry(
          path.appending(component.components), name: isRoot ? bytes : name + [UInt8(ascii: "/")] + bytes))
    }
    if errno != 0 { throw unreadable() }
    return children
  }

  /// Looks at what is there; a symbolic link is what it points to where `follows` is given.
  private init(_ path: FilePath, name: [UInt8], follows: Bool = false) throws(Failure) {
    var status = stat()
    // Safe: the structure is a local, and the path lives for the call.
    let result = unsafe path.withPlatformString {
      unsafe fstatat(AT_FDCWD, $0, &status, follows ? 0 : AT_SYMLINK_NOFOLLOW)
    }
    (self.path, self.name, self.status) = (path, name, status)
    guard result == 0 else { throw Failure("\(path) cannot be read: \(errorText(errno))", status: 66) }
    let type = status.st_mode & S_IFMT
    target = type == S_IFLNK ? try Self.target(of: path) : nil
    size = target.map { UInt64($0.count) } ?? (type == S_IFREG ? UInt64(status.st_size) : 0)
    guard name.count <= Self.nameLimit else {
      throw Failure("\(path) has a path of more than \(Self.nameLimit) bytes, which no initramfs can hold", status: 65)
    }
    guard name != ArchiveHeader.trailer else {
      throw Failure("\(path) has the name that ends an initramfs; rename it", status: 65)
    }
    guard size <= Self.sizeLimit else {
      throw Failure("\(path) has \(size) bytes; a file in an initramfs has less than 4 GiB", status: 65)
    }
    guard (0...Int(UInt32.max)).contains(status.st_mtim.tv_sec) else {
      throw Failure("\(path) was changed before 1970 or after 2106, says its date; `touch` it", status: 65)
    }
  }

  private static func target(of path: FilePath) throws(Failure) -> [UInt8] {
    var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
    // Safe: the buffer has room for as many bytes as are announced, and the kernel writes no more.
    let count = unsafe path.withPlatformString { unsafe readlink($0, &bytes, Int(PATH_MAX)) }
    guard count > 0 else { throw Failure("\(path) cannot be read: \(errorText(errno))", status: 66) }
    return bytes.prefix(count).map { UInt8(bitPattern: $0) }
  }

  /// Opens a regular file.
  func open() throws(Failure) -> ReadableFile {
    // Safe: the path lives for the call. O_NONBLOCK: it may have become a pipe meanwhile.
    let file = unsafe path.withPlatformString { unsafe Glibc.open($0, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) }
    guard file >= 0 else { throw unreadable() }
    defer { close(file) }
    do throws(Errno) { return try readable(file) } catch {
      throw Failure("\(path) cannot be read: \(error)", status: 66)
    }
  }

  private func unreadable() -> Failure { Failure("\(path) cannot be read: \(errorText(errno))", status: 66) }

  private var isDirectory: Bool { status.st_mode & S_IFMT == S_IFDIR }

  /// Identifies a file among its names. A directory has one name.
  var file: File { File(device: UInt(status.st_dev), inode: UInt(status.st_ino)) }

  /// What the archive says of it, of a file of `links` names. `hasBytes`: this one brings the file's bytes.
  func header(number: UInt32, links: Int, hasBytes: Bool) -> ArchiveHeader {
    var header = ArchiveHeader(name: name)
    header.number = number
    header.mode = UInt32(status.st_mode)
    header.user = status.st_uid == geteuid() ? 0 : status.st_uid
    header.group = status.st_gid == getegid() ? 0 : status.st_gid
    header.links = isDirectory ? 2 : UInt32(links)
    header.modified = UInt32(status.st_mtim.tv_sec)
    header.fileBytes = hasBytes ? UInt32(size) : 0
    if [S_IFCHR, S_IFBLK].contains(status.st_mode & S_IFMT) {
      let device = UInt64(status.st_rdev)
      // As gnu_dev_major(3) and gnu_dev_minor(3) take it apart.
      header.deviceMajor = UInt32(truncatingIfNeeded: device >> 8 & 0xFFF | device >> 32 & ~0xFFF)
      header.deviceMinor = UInt32(truncatingIfNeeded: device & 0xFF | device >> 12 & ~0xFF)
    }
    return header
  }
}

/// The header of an entry, its name included.
struct ArchiveHeader {
  var number: UInt32 = 0
  var mode: UInt32 = 0
  var user: UInt32 = 0
  var group: UInt32 = 0
  var links: UInt32 = 1
  var modified: UInt32 = 0
  var fileBytes: UInt32 = 0
  var deviceMajor: UInt32 = 0
  var deviceMinor: UInt32 = 0
  let name: [UInt8]

  /// The name of the entry that ends an archive.
  static let trailer = Array("TRAILER!!!".utf8)

  init(name: [UInt8]) { self.name = name }

  /// The bytes of the header in the archive, padded to a multiple of four.
  var bytes: [UInt8] {
    let (fileSystem, checksum): ([UInt32], UInt32) = ([0, 0], 0)
    let fields =
      [number, mode, user, group, links, modified, fileBytes] + fileSystem
      + [deviceMajor, deviceMinor, UInt32(name.count + 1), checksum]
    let digits = fields.flatMap { field in
      let text = String(field, radix: 16, uppercase: true)
      return Array((String(repeating: "0", count: 8 - text.count) + text).utf8)
    }
    return (Array("070701".utf8) + digits + name + [0]).padded
  }
}

/// The same file by a descriptor of its own.
private func readable(_ descriptor: Int32) throws(Errno) -> ReadableFile {
  let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
  return try ReadableFile(OwnedDescriptor(result: own < 0 ? -errno : own))
}

extension [UInt8] {
  /// With zeros up to a multiple of four bytes, at which every part of an archive begins.
  fileprivate var padded: [UInt8] { self + [UInt8](repeating: 0, count: -count & 3) }
}

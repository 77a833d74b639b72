import Glibc
import LinuxSupport
import SystemPackage

/// Memory as it was at one moment: a sealed file without a name, which never changes. Clones map it copy-on-write, so that
/// they share the pages that they do not write.
///
/// It lives as long as a clone refers to it. Any thread.
@safe public final class TemplateMemory: Sendable {
  /// Bytes of memory.
  public let size: UInt64
  /// Bytes that the template takes of the host: pages of zeros take none.
  public let storedBytes: UInt64
  private let file: MemoryFile
  // Safe to share: the file is sealed, so what is mapped here never changes. Unmapped with this object alone.
  private nonisolated(unsafe) let contents: UnsafeRawPointer

  /// Copies `mapping`, which no thread changes meanwhile.
  init(copying mapping: PrivateMapping) throws(MappingError) {
    size = UInt64(mapping.size)
    do throws(Errno) {
      file = try MemoryFile(name: "vmpool-template", size: size)
      storedBytes = try mapping.writePages(to: file.rawValue)
      try file.seal()
    } catch { throw MappingError(bytes: size, errno: error) }
    // Safe: a fresh mapping of the kernel's choosing, owned by this object.
    let mapped = unsafe mmap(nil, Int(size), PROT_READ, MAP_SHARED, file.rawValue, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
      throw MappingError(bytes: size, errno: Errno(rawValue: errno))
    }
    // A guest's bytes have no place in the server's core dumps.
    _ = unsafe madvise(mapped, Int(size), MADV_DONTDUMP)
    unsafe contents = UnsafeRawPointer(mapped)
  }

  deinit {
    // Safe: clones keep this object for as long as they copy from it.
    _ = unsafe munmap(UnsafeMutableRawPointer(mutating: contents), Int(size))
  }

  /// What a clone maps; valid while this object lives.
  var descriptor: Int32 { file.rawValue }

  /// Where `count` bytes from `offset` on stand.
  // Safe: the caller keeps this object for as long as it uses the address.
  @unsafe func bytes(at offset: Int, count: Int) -> UnsafeRawPointer {
    precondition(offset >= 0 && count >= 0 && offset + count <= Int(size), "a read outside of a template")
    return unsafe contents.advanced(by: offset)
  }
}

extension PrivateMapping {
  /// Writes the pages that are not all zero to the same places of `file`. Returns how many bytes they are.
  fileprivate func writePages(to file: Int32) throws(Errno) -> UInt64 {
    let pages = size / Self.pageBytes
    var stored = 0
    var page = 0
    while page < pages {
      while page < pages, isZero(page) { page += 1 }
      let first = page
      while page < pages, !isZero(page) { page += 1 }
      try write(first * Self.pageBytes..<page * Self.pageBytes, to: file)
      stored += (page - first) * Self.pageBytes
    }
    return UInt64(stored)
  }

  private func isZero(_ page: Int) -> Bool {
    // Safe: the page is inside the mapping. It is zero if it begins with a zero byte and each byte equals the one before.
    let start = unsafe hostAddress.advanced(by: page * Self.pageBytes)
    return unsafe start.load(as: UInt8.self) == 0 && memcmp(start, start.advanced(by: 1), Self.pageBytes - 1) == 0
  }

  private func write(_ range: Range<Int>, to file: Int32) throws(Errno) {
    var offset = range.lowerBound
    while offset < range.upperBound {
      // Safe: the range is inside the mapping.
      let count = unsafe pwrite(file, hostAddress.advanced(by: offset), range.upperBound - offset, off_t(offset))
      guard count > 0 else { throw count < 0 ? Errno(rawValue: errno) : .noSpace }
      offset += count
    }
  }

  /// Copies `template`, which has the same size, over page `page`.
  func copyPage(_ page: Int, from template: TemplateMemory) {
    let offset = page * Self.pageBytes
    precondition(contains(offset: offset, count: Self.pageBytes), "a page outside of a mapping")
    // Safe: the page is inside both, the mapping as was just checked.
    let source = unsafe template.bytes(at: offset, count: Self.pageBytes)
    unsafe hostAddress.advanced(by: offset).copyMemory(from: source, byteCount: Self.pageBytes)
  }

  /// The first page that differs from that of `template`, which has the same size; nil where none does. Reads all.
  func firstDifference(from template: TemplateMemory) -> Int? {
    (0..<size / Self.pageBytes).first { page in
      let offset = page * Self.pageBytes
      // Safe: the page is inside both.
      return unsafe memcmp(
        hostAddress.advanced(by: offset), template.bytes(at: offset, count: Self.pageBytes), Self.pageBytes) != 0
    }
  }
}

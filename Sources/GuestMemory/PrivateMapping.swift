import Glibc
import LinuxSupport
import Synchronization
public import SystemPackage

/// The host refused to map memory.
public struct MappingError: Error, Sendable, Equatable, CustomStringConvertible {
  /// How many bytes were asked for.
  public let bytes: UInt64
  /// The answer of mmap(2).
  public let errno: Errno

  /// States what happened and what to do.
  public var description: String {
    "the host cannot map \((bytes + (1 << 20) - 1) >> 20) MiB for a guest: \(errno); delete some VMs, or give it less memory"
  }
}

/// Memory outside of the heap: anonymous and all zero at first, or a file's contents, copied page by page when they are
/// written. The kernel takes it back as a whole when it is unmapped. So no allocator keeps what a guest made the server
/// keep.
///
/// The mapping checks no thread: its owner does. Every access is checked against its size, and fails after `unmap`.
@safe final class PrivateMapping: @unchecked Sendable {
  /// Bytes of a page.
  static let pageBytes = 4096
  // Safe to share: accesses are bounded copies, and `unmap` is called when no thread accesses it any more.
  private let base: UnsafeMutableRawPointer
  /// Bytes; 0 once it is unmapped.
  private(set) var size: Int
  /// Bytes until it is unmapped. Guards the mapping against being unmapped, and the address used again, while
  /// `residentBytes` looks at it. A leaf lock.
  private let mapped: Mutex<Int>

  /// Maps `size` bytes, a multiple of 4096 above 0, of `file`, which may be closed afterwards, or of nothing (nil). Pages
  /// cost nothing until they are written.
  init(size: Int, of file: Int32? = nil) throws(MappingError) {
    let kind = file == nil ? MAP_ANONYMOUS : 0
    // Safe: a fresh private mapping of the kernel's choosing, owned by this object.
    let mapped = unsafe mmap(
      nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | kind | MAP_NORESERVE, file ?? -1, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
      throw MappingError(bytes: UInt64(size), errno: Errno(rawValue: Glibc.errno))
    }
    // A guest's bytes have no place in the server's core dumps.
    _ = unsafe madvise(mapped, size, MADV_DONTDUMP)
    unsafe base = mapped
    self.size = size
    self.mapped = Mutex(size)
  }

  deinit { unmap() }

  /// Gives the memory back. No thread may access it at the same time; later accesses fail.
  func unmap() {
    mapped.withLock { mapped in
      // Safe: unmapped once, since the size is 0 afterwards.
      if mapped > 0 { _ = unsafe munmap(base, mapped) }
      mapped = 0
    }
    size = 0
  }

  /// Gives all pages back: they are as at first.
  func discard() {
    // Safe: the mapping is this object's, and private.
    if size > 0 { _ = unsafe madvise(base, size, MADV_DONTNEED) }
  }

  /// Bytes that the host holds in memory, in whole pages; 0 once it is unmapped. Any thread. The kernel looks at each page:
  /// some 0.3 ms for 1 GiB, 2 microseconds for 2 MiB. The C function is mincore(2).
  var residentBytes: Int {
    mapped.withLock { mapped in
      guard mapped > 0 else { return 0 }
      var pages = [UInt8](repeating: 0, count: mapped / 4096)
      // Safe: the lock keeps the mapping, and there is a byte for each of its pages.
      guard unsafe mincore(base, mapped, &pages) == 0 else { return 0 }
      return pages.reduce(0) { $0 + Int($1 & 1) } * 4096
    }
  }

  /// Where it begins in this process.
  // Safe: the caller of an `@unsafe` member keeps the mapping for as long as it uses the address.
  @unsafe var hostAddress: UnsafeMutableRawPointer { unsafe base }

  /// Whether `count` bytes at `offset` are inside.
  func contains(offset: Int, count: Int) -> Bool {
    offset >= 0 && count >= 0 && offset <= size && count <= size - offset
  }

  /// Copies `bytes` to `offset`; the range must be inside.
  func write(_ bytes: ArraySlice<UInt8>, at offset: Int) {
    precondition(contains(offset: offset, count: bytes.count), "a write outside of a mapping")
    // Safe: the bytes are used within the closure alone.
    unsafe bytes.withUnsafeBytes { source in
      guard let start = source.baseAddress else { return }
      // Safe: the range was just checked.
      unsafe base.advanced(by: offset).copyMemory(from: start, byteCount: source.count)
    }
  }

  /// A copy of `count` bytes at `offset`; the range must be inside.
  func read(at offset: Int, count: Int) -> [UInt8] {
    precondition(contains(offset: offset, count: count), "a read outside of a mapping")
    // Safe: the closure writes as many bytes as it says.
    return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let target = buffer.baseAddress {
        // Safe: the range was just checked, and the buffer holds `count` bytes.
        unsafe UnsafeMutableRawPointer(target).copyMemory(from: base.advanced(by: offset), byteCount: count)
      }
      initialized = count
    }
  }

  /// The 32-bit number at `offset`, a multiple of 4; it must be inside.
  subscript(number offset: Int) -> UInt32 {
    get {
      precondition(contains(offset: offset, count: 4), "a read outside of a mapping")
      // Safe: the range was just checked, and the mapping is aligned to pages.
      return unsafe base.load(fromByteOffset: offset, as: UInt32.self)
    }
    set {
      precondition(contains(offset: offset, count: 4), "a write outside of a mapping")
      // Safe: as above.
      unsafe base.storeBytes(of: newValue, toByteOffset: offset, as: UInt32.self)
    }
  }
}

import Glibc
import LinuxSupport
import SystemPackage

/// Why guest memory could not be had or accessed.
public enum GuestMemoryError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The host refused the mapping.
  case unavailable(bytes: UInt64, Errno)
  /// The range is not wholly inside the guest's memory.
  case outOfRange(address: UInt64, count: UInt64, size: UInt64)

  /// What happened.
  public var description: String {
    switch self {
    case .unavailable(let bytes, let errno):
      "the host has no \(bytes >> 20) MiB for guest memory: \(errno)"
    case .outOfRange(let address, let count, let size):
      "guest-physical range 0x\(String(address, radix: 16)) + \(count) is outside the guest's \(size) bytes"
    }
  }
}

/// A VM's memory: guest-physical addresses 0 to `size`, all zero at first, unmapped when the owner goes away.
///
/// The guest writes it whenever it runs, so what is read is copied first and validated afterwards, and a read that
/// races with the guest gives some mixture of old and new bytes. Pages cost the host nothing until they are touched.
@safe public struct GuestMemoryRegion: ~Copyable, @unchecked Sendable {
  // Safe to share: all access goes through the checked copies below, which race only with the guest itself.
  private let base: UnsafeMutableRawPointer
  /// Bytes.
  public let size: UInt64

  /// Maps `size` bytes, a multiple of 4096.
  public init(size: UInt64) throws(GuestMemoryError) {
    // Safe: a fresh private mapping of the kernel's choosing, owned by this value.
    let mapped = unsafe mmap(
      nil, Int(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
      throw .unavailable(bytes: size, Errno(rawValue: errno))
    }
    // A guest's memory is the guest's: it has no place in the server's core dumps.
    _ = unsafe madvise(mapped, Int(size), MADV_DONTDUMP)
    unsafe base = mapped
    self.size = size
  }

  deinit {
    // Safe: unmapped once; whoever mapped it into a VM closed that VM before letting go of this.
    _ = unsafe munmap(base, Int(size))
  }

  /// Where the region begins in this process: for mapping it into a VM, for nothing else.
  @unsafe public var hostAddress: UnsafeMutableRawPointer { unsafe base }

  /// Copies `bytes` into guest memory at `address`.
  public borrowing func write(_ bytes: [UInt8], at address: UInt64) throws(GuestMemoryError) {
    try check(address, UInt64(bytes.count))
    unsafe bytes.withUnsafeBytes { source in
      guard let start = source.baseAddress else { return }
      // Safe: the range was checked against the mapping.
      unsafe base.advanced(by: Int(address)).copyMemory(from: start, byteCount: source.count)
    }
  }

  /// Gives `fill` the `count` bytes at `address` to write to. Before a vCPU runs only: the guest must not see them
  /// meanwhile, nor change them.
  public borrowing func fill<Failure>(
    at address: UInt64, count: UInt64, _ fill: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(GuestMemoryError) -> Result<Void, Failure> {
    try check(address, count)
    // Safe: the range was checked against the mapping, which outlives this call; nobody else writes there, as said.
    let buffer = unsafe UnsafeMutableRawBufferPointer(start: base.advanced(by: Int(address)), count: Int(count))
    var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
    do throws(Failure) {
      return .success(try fill(&span))
    } catch { return .failure(error) }
  }

  /// Copies `count` bytes out of guest memory at `address`.
  public borrowing func read(at address: UInt64, count: Int) throws(GuestMemoryError) -> [UInt8] {
    try check(address, UInt64(count))
    return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let target = buffer.baseAddress {
        // Safe: the range was checked against the mapping; the buffer holds `count` bytes.
        unsafe UnsafeMutableRawPointer(target).copyMemory(from: base.advanced(by: Int(address)), byteCount: count)
      }
      initialized = count
    }
  }

  private borrowing func check(_ address: UInt64, _ count: UInt64) throws(GuestMemoryError) {
    let (end, overflow) = address.addingReportingOverflow(count)
    guard !overflow, end <= size else { throw .outOfRange(address: address, count: count, size: size) }
  }
}

import CLinux
public import SystemPackage

/// A file in memory, without a name: memfd_create(2). It goes with its last descriptor and its last mapping.
public struct MemoryFile: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// Creates a file of `size` bytes, all zero, which take no room until they are written. `name` is what tools show.
  public init(name: String, size: UInt64) throws(Errno) {
    // Safe: the string lives for the call.
    descriptor = try OwnedDescriptor(result: unsafe clinux_memfd(name, size))
  }

  /// The descriptor's number; valid while this value lives.
  public var rawValue: Int32 { descriptor.rawValue }

  /// Makes every later change of the file impossible, for this process and all others. Fails with `resourceBusy` while the
  /// file is mapped shared and writable.
  public borrowing func seal() throws(Errno) { try valueOrErrno(clinux_seal(rawValue)) }
}

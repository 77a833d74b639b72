import Glibc
import LinuxSupport
import SystemPackage

/// The memory of a VM as it was at one moment: a sealed file without a name, which never changes. Clones of that VM map
/// it copy-on-write, so that they share the pages that they do not write.
///
/// It lives as long as a clone refers to it. Any thread.
@safe public final class TemplateMemory: Sendable {
  /// Bytes of memory, without the hole.
  public let size: UInt64
  /// Bytes that the template takes of the host: pages of zeros take none.
  public let storedBytes: UInt64
  private let file: MemoryFile
  // Safe to share: the file is sealed, so what is mapped here never changes. Unmapped with this object alone.
  private nonisolated(unsafe) let contents: UnsafeRawPointer

  /// Copies `memory`, whose VM stands still.
  public init(copying memory: GuestRAM) throws(MappingError) {
    size = memory.size
    do throws(Errno) {
      file = try MemoryFile(name: "vmpool-template", size: size)
      storedBytes = try memory.writePages(to: file.rawValue)
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

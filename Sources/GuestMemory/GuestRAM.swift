import LinuxSupport

/// A VM's memory: RAM from guest-physical address 0 on. What does not fit below the hole for devices (3 GiB to 4 GiB) goes
/// on at 4 GiB, as on a PC.
///
/// The guest writes it whenever it runs: copy first, validate afterwards. A read that races with the guest returns a
/// mixture of old and new bytes. Any thread may access it until its owner calls `unmap`, which happens when all vCPU
/// threads are joined; accesses after that fail. There is no lock.
public final class GuestRAM: Sendable {
  /// A stretch of guest-physical addresses with memory behind it.
  public struct Range: Sendable, Equatable {
    /// The guest-physical address of its first byte.
    public let address: UInt64
    /// Its length in bytes.
    public let size: UInt64
    /// Where its bytes begin in the mapping.
    let offset: UInt64

    /// The number of its first page, counted from the beginning of memory without the hole.
    public var firstPage: Int { Int(offset / WrittenPages.pageBytes) }
  }

  /// Bytes of memory, without the hole.
  public let size: UInt64
  /// Where the memory is, by ascending address: one range, or two when there is memory behind the hole.
  public let ranges: [Range]
  /// Pages of 4 KiB.
  public var pageCount: Int { Int(size / WrittenPages.pageBytes) }
  let mapping: PrivateMapping
  let written: WrittenPages
  /// What it was at first; nil where it was zero.
  let template: TemplateMemory?

  /// Maps `size` bytes, a multiple of 4096. They are zero, and pages cost the host nothing until they are touched.
  public init(size: UInt64) throws(MappingError) {
    self.size = size
    ranges = Self.ranges(size: size)
    mapping = try PrivateMapping(size: Int(size))
    written = WrittenPages(bytes: size)
    template = nil
  }

  /// Maps a copy of `template`. Pages cost the host nothing until they are written.
  public init(cloning template: TemplateMemory) throws(MappingError) {
    size = template.size
    ranges = Self.ranges(size: size)
    mapping = try PrivateMapping(size: Int(size), of: template.descriptor)
    written = WrittenPages(bytes: size)
    self.template = template
  }

  /// How `size` bytes of memory are distributed.
  public static func ranges(size: UInt64) -> [Range] {
    guard size > PCMemoryMap.holeStart else { return [Range(address: 0, size: size, offset: 0)] }
    return [
      Range(address: 0, size: PCMemoryMap.holeStart, offset: 0),
      Range(
        address: PCMemoryMap.holeEnd, size: size - PCMemoryMap.holeStart, offset: PCMemoryMap.holeStart),
    ]
  }

  /// Bytes that the host holds in memory: what was touched. Any thread; after `unmap` it is 0.
  public var residentBytes: Int { mapping.residentBytes }

  /// Gives the memory back to the host. By the owner, once the VM's descriptors are closed and its vCPU threads joined.
  public func unmap() { mapping.unmap() }

  /// Calls `body` with each range and where it begins in this process: for mapping it into a VM, which must be closed
  /// before `unmap`.
  @unsafe public func withHostRanges<Failure>(
    _ body: (Range, UnsafeMutableRawPointer) throws(Failure) -> Void
  ) throws(Failure) {
    // Safe: ranges are inside the mapping.
    for range in ranges { unsafe try body(range, mapping.hostAddress.advanced(by: Int(range.offset))) }
  }

  /// The pages that the server wrote since `forgetWrites`, ascending, counted in 4 KiB from the beginning of memory without
  /// the hole. With KVM's dirty log these are all pages that changed. For a VM whose vCPUs are parked.
  public var pagesWrittenByServer: [UInt64] { written.pages }

  /// Begins a new set of `pagesWrittenByServer`. For a VM whose vCPUs are parked.
  public func forgetWrites() { written.clear() }

  /// Throws unless `count` bytes at `address` are memory.
  public func check(_ address: UInt64, count: UInt64) throws(GuestAddressError) { _ = try offset(address, count) }

  /// A copy of `count` bytes at `address`.
  public func read(at address: UInt64, count: Int) throws(GuestAddressError) -> [UInt8] {
    let offset = try offset(address, UInt64(max(count, 0)))
    return mapping.read(at: offset, count: max(count, 0))
  }

  /// A copy of up to `count` bytes at `address`: as many as there are in a row.
  public func bytes(at address: UInt64, upTo count: Int) -> [UInt8] {
    guard let range = ranges.last(where: { address >= $0.address && address - $0.address < $0.size }) else { return [] }
    let available = range.size - (address - range.address)
    return (try? read(at: address, count: Int(min(UInt64(max(count, 0)), available)))) ?? []
  }

  /// Copies `bytes` to `address`, all or none.
  public func write(_ bytes: [UInt8], at address: UInt64) throws(GuestAddressError) {
    let offset = try offset(address, UInt64(bytes.count))
    written.mark(offset: UInt64(offset), count: UInt64(bytes.count))
    mapping.write(bytes[...], at: offset)
  }

  /// Passes the `count` bytes at `address` to `fill`, which writes them. Only before a vCPU runs: the guest must neither
  /// see nor change them meanwhile.
  public func fill<Failure>(
    at address: UInt64, count: UInt64, _ fill: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(GuestAddressError) -> Result<Void, Failure> {
    let offset = try offset(address, count)
    written.mark(offset: UInt64(offset), count: count)
    // Safe: the range was checked against the mapping, which outlives this call; nothing else writes there, as said.
    let buffer = unsafe UnsafeMutableRawBufferPointer(
      start: mapping.hostAddress.advanced(by: offset), count: Int(count))
    var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
    do throws(Failure) {
      return .success(try fill(&span))
    } catch { return .failure(error) }
  }

  /// Where `count` bytes at `address` are in the mapping.
  private func offset(_ address: UInt64, _ count: UInt64) throws(GuestAddressError) -> Int {
    for range in ranges where address >= range.address {
      let ahead = address - range.address
      guard ahead <= range.size, count <= range.size - ahead else { continue }
      let offset = Int(range.offset + ahead)
      if mapping.contains(offset: offset, count: Int(count)) { return offset }
    }
    throw GuestAddressError(address: address, count: count)
  }
}

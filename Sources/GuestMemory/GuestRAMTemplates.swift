import Glibc
import SystemPackage

// Freezing a VM's memory, and bringing a clone's memory back to its template. The VM stands still meanwhile.
extension GuestRAM {
  private static var pageBytes: Int { Int(WrittenPages.pageBytes) }

  /// Writes the pages that are not all zero to the same places of `file`. Returns how many bytes they are.
  func writePages(to file: Int32) throws(Errno) -> UInt64 {
    let pages = Int(size) / Self.pageBytes
    var stored = 0
    var page = 0
    while page < pages {
      while page < pages, isZero(page) { page += 1 }
      let first = page
      while page < pages, !isZero(page) { page += 1 }
      try write(first..<page, to: file)
      stored += (page - first) * Self.pageBytes
    }
    return UInt64(stored)
  }

  private func isZero(_ page: Int) -> Bool {
    // Safe: the page is inside the mapping. It is zero if it begins with a zero byte and each byte equals the one before.
    unsafe withMapping { base in
      let start = unsafe base.advanced(by: page * Self.pageBytes)
      return unsafe start.load(as: UInt8.self) == 0 && memcmp(start, start.advanced(by: 1), Self.pageBytes - 1) == 0
    }
  }

  private func write(_ pages: Swift.Range<Int>, to file: Int32) throws(Errno) {
    var offset = pages.lowerBound * Self.pageBytes
    let end = pages.upperBound * Self.pageBytes
    while offset < end {
      // Safe: the range is inside the mapping.
      let count = unsafe withMapping { base in
        unsafe pwrite(file, base.advanced(by: offset), end - offset, off_t(offset))
      }
      guard count > 0 else { throw count < 0 ? Errno(rawValue: errno) : .noSpace }
      offset += count
    }
  }

  /// Copies the template's contents over every page that has changed: those whose bit is set in `guestWrites` (a bit for
  /// each page from the beginning of memory without the hole, as KVM's dirty log has them), and those that the server
  /// wrote. Begins a new set of the latter. Returns how many pages it copied.
  ///
  /// The memory is a clone's.
  public func revert(_ guestWrites: [UInt64]) -> Int {
    guard let template else { preconditionFailure("memory that is no clone has nothing to go back to") }
    var copied = 0
    written.takeAll(with: guestWrites) { page in
      let offset = page * Self.pageBytes
      // Safe: the page is inside both mappings, which have the same size.
      unsafe withMapping { base in
        let source = unsafe template.bytes(at: offset, count: Self.pageBytes)
        unsafe base.advanced(by: offset).copyMemory(from: source, byteCount: Self.pageBytes)
      }
      copied += 1
    }
    return copied
  }

  /// The first page that differs from the template's, counted from the beginning of memory without the hole; nil where
  /// none does. Reads all of the memory.
  public func firstDifference() -> Int? {
    guard let template else { return nil }
    return (0..<Int(size) / Self.pageBytes).first { page in
      let offset = page * Self.pageBytes
      // Safe: as above.
      return unsafe withMapping { base in
        unsafe memcmp(base.advanced(by: offset), template.bytes(at: offset, count: Self.pageBytes), Self.pageBytes) != 0
      }
    }
  }
}

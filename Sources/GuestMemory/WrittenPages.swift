import Synchronization

/// Which 4 KiB pages of a guest's memory the server wrote: KVM's dirty log knows the guest's own writes alone. A bit a
/// page; any thread.
@safe final class WrittenPages: @unchecked Sendable {
  static let pageBytes: UInt64 = 4096

  // Safe to share: the words are atomic, and allocated for the lifetime of this object. Relaxed: a reader of the set stops
  // the vCPUs first, and that orders it after every writer.
  private let words: UnsafeMutablePointer<Atomic<UInt64>>
  private let wordCount: Int

  /// No page of `bytes` bytes is written.
  init(bytes: UInt64) {
    wordCount = Int((bytes / Self.pageBytes + 63) / 64)
    // Safe: as many words are initialized as are allocated.
    unsafe words = .allocate(capacity: wordCount)
    for index in 0..<wordCount { unsafe (words + index).initialize(to: Atomic(0)) }
  }

  deinit {
    // Safe: they were allocated and initialized by this object.
    unsafe words.deinitialize(count: wordCount)
    unsafe words.deallocate()
  }

  /// Marks the pages that `count` bytes at `offset` touch, which are inside.
  func mark(offset: UInt64, count: UInt64) {
    guard count > 0 else { return }
    let last = (offset + count - 1) / Self.pageBytes
    var page = offset / Self.pageBytes
    while page <= last {
      let index = Int(page / 64)
      precondition(index < wordCount, "a page outside of the guest's memory")
      let end = min(last, page | 63)
      let bits = (UInt64.max << (page % 64)) & (UInt64.max >> (63 - end % 64))
      // Safe: the index was just checked.
      unsafe words[index].bitwiseOr(bits, ordering: .relaxed)
      page = end + 1
    }
  }

  /// The marked pages in ascending order.
  var pages: [UInt64] {
    var pages: [UInt64] = []
    for index in 0..<wordCount {
      var bits = unsafe words[index].load(ordering: .relaxed)  // Safe: the index is in range.
      while bits != 0 {
        pages.append(UInt64(index) * 64 + UInt64(bits.trailingZeroBitCount))
        bits &= bits - 1
      }
    }
    return pages
  }

  /// Calls `body` with each page that is marked here or whose bit is set in `others`, ascending; then marks none. `others`
  /// has a bit for each page.
  func takeAll(with others: [UInt64], _ body: (Int) -> Void) {
    for index in 0..<wordCount {
      var bits = index < others.count ? others[index] : 0
      // Safe: the index is in range. Almost all words are 0, and a load costs less than an exchange.
      if unsafe words[index].load(ordering: .relaxed) != 0 {
        bits |= unsafe words[index].exchange(0, ordering: .relaxed)  // Safe: as above.
      }
      while bits != 0 {
        body(index * 64 + bits.trailingZeroBitCount)
        bits &= bits - 1
      }
    }
  }

  /// Marks none.
  func clear() {
    for index in 0..<wordCount {
      unsafe words[index].store(0, ordering: .relaxed)  // Safe: the index is in range.
    }
  }
}

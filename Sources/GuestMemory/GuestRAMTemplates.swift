// Freezing a VM's memory, and bringing a clone's memory back to its template. The VM stands still meanwhile.
extension GuestRAM {
  /// Freezes a copy of this memory.
  public func frozen() throws(MappingError) -> TemplateMemory { try TemplateMemory(copying: mapping) }

  /// Copies the template's contents over every page that the guest or the server has written, and begins a new set of the
  /// server's. `guestWrites` has a bit for each page from the beginning of memory without the hole, as KVM's dirty log has
  /// them. Returns how many pages it copied.
  ///
  /// The memory is a clone's.
  public func revert(_ guestWrites: [UInt64]) -> Int {
    guard let template else { preconditionFailure("memory that is no clone has nothing to go back to") }
    var copied = 0
    written.takeAll(with: guestWrites) { page in
      mapping.copyPage(page, from: template)
      copied += 1
    }
    return copied
  }

  /// The first page that differs from the template's, counted from the beginning of memory without the hole; nil where
  /// none does. Reads all of the memory, which is a clone's.
  public func firstDifference() -> Int? {
    guard let template else { preconditionFailure("memory that is no clone has nothing to differ from") }
    return mapping.firstDifference(from: template)
  }
}

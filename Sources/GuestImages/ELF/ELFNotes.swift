extension ELFFile {
  /// A note: what a tool recorded about the file.
  struct Note: Sendable, Equatable {
    /// The vendor that defines the note, without the NUL at its end.
    let owner: String
    /// The kind of note, by its owner's numbers.
    let type: UInt32
    let descriptor: [UInt8]
    /// Where the descriptor's bytes are in the file.
    let offset: UInt64
  }

  /// The most bytes of a segment that are searched for notes.
  private static let noteLimit: UInt64 = 1 << 20
  /// Owners whose notes decide how a file is started. A damaged note of another one does not matter.
  private static let neededOwners: Set<String> = ["Solo5", "Xen", "Linux"]

  /// The notes of every PT_NOTE segment that can be read. Damaged notes of owners that matter are refused.
  func notes() throws(ELFDefect) -> [Note] {
    var notes: [Note] = []
    for segment in segments where segment.type == Segment.note { notes += try self.notes(in: segment) }
    return notes
  }

  private func notes(in segment: Segment) throws(ELFDefect) -> [Note] {
    guard segment.offset < part.count else { return [] }
    let count = min(segment.fileBytes, part.count - segment.offset, Self.noteLimit)
    let bytes = try Self.read(part, at: segment.offset, count: count)
    // Names and descriptors begin at multiples of 4, or of 8 in segments that say so. Some linkers say so and mean 4.
    let declared = NoteList(bytes, unit: segment.alignment == 8 ? 8 : 4, at: segment.offset)
    guard segment.alignment == 8, !declared.isPlausible else { return try checked(declared, segment) }
    let other = NoteList(bytes, unit: 4, at: segment.offset)
    return try checked(other.isPlausible || other.notes.count > declared.notes.count ? other : declared, segment)
  }

  private func checked(_ list: NoteList, _ segment: Segment) throws(ELFDefect) -> [Note] {
    if let owner = list.damagedOwner, Self.neededOwners.contains(owner) { throw .noteBeyondSegment(segment.number) }
    return list.notes
  }
}

/// Notes read one after another, up to the first damaged one.
private struct NoteList {
  private static let headerBytes = 12
  private static let nameBytesOffset = 0, descriptorBytesOffset = 4, typeOffset = 8
  /// No owner's name is longer: these bytes are something else.
  private static let longestOwner = 64

  private(set) var notes: [ELFFile.Note] = []
  /// The owner of the note that is damaged; empty where its name cannot be read, nil where no note is damaged.
  private(set) var damagedOwner: String?

  /// Whether the bytes look like notes that are aligned so.
  var isPlausible: Bool {
    damagedOwner == nil
      && notes.allSatisfy { note in
        !(note.owner.isEmpty && note.type == 0 && note.descriptor.isEmpty)
          && note.owner.utf8.allSatisfy { (0x20..<0x7F).contains($0) }
      }
  }

  /// Reads `bytes`, which begin at `place` in the file, with names and descriptors at multiples of `unit`.
  init(_ bytes: [UInt8], unit: Int, at place: UInt64) {
    func aligned(_ offset: Int) -> Int { (offset + unit - 1) / unit * unit }
    var next = 0
    // A shorter rest is padding.
    while bytes.count - next >= Self.headerBytes {
      guard
        let nameBytes = bytes.littleEndian(UInt32.self, at: next + Self.nameBytesOffset),
        let descriptorBytes = bytes.littleEndian(UInt32.self, at: next + Self.descriptorBytesOffset),
        let type = bytes.littleEndian(UInt32.self, at: next + Self.typeOffset)
      else { break }
      let name = next + Self.headerBytes
      // Sums of numbers below 2^33: they fit.
      let descriptor = aligned(name + Int(nameBytes))
      let end = descriptor + Int(descriptorBytes)
      guard Int(nameBytes) <= Self.longestOwner, name + Int(nameBytes) <= bytes.count else {
        damagedOwner = ""
        return
      }
      let owner = Self.owner(bytes[name..<name + Int(nameBytes)])
      guard end <= bytes.count else {
        damagedOwner = owner
        return
      }
      notes.append(
        ELFFile.Note(
          owner: owner, type: type, descriptor: Array(bytes[descriptor..<end]), offset: place + UInt64(descriptor)))
      next = aligned(end)
    }
  }

  private static func owner(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.last == 0 ? bytes.dropLast() : bytes, as: UTF8.self)
  }
}

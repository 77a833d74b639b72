import Testing

@testable import GuestImages

struct ELFFileTests {
  private static func code(_ address: UInt64, _ count: Int = 32) -> ELFBuilder.Segment {
    .init(virtualAddress: address, bytes: [UInt8](repeating: 0x90, count: count))
  }

  @Test(arguments: [true, false]) func readsWhatIsThere(is64Bit: Bool) throws {
    let file = ELFBuilder(
      is64Bit: is64Bit, machine: is64Bit ? ELFFile.x86_64 : ELFFile.i386, entry: 0xC010_0008,
      segments: [
        .init(flags: 6, virtualAddress: 0xC020_0000, physicalAddress: 0x20_0000, bytes: [1, 2], memoryBytes: 0x1000),
        .init(virtualAddress: 0xC010_0000, physicalAddress: 0x10_0000, bytes: [UInt8](repeating: 0x90, count: 16)),
        .init(type: 0x6474_E551, flags: 6, virtualAddress: 0),
      ])
    let elf = try #require(try ELFFile(file.part))
    #expect(elf.is64Bit == is64Bit)
    #expect(elf.type == ELFFile.executable)
    #expect(elf.machine == file.machine)
    #expect(elf.segments.count == 3)
    let loaded = try elf.loaded()
    #expect(loaded.map(\.number) == [1, 0])
    #expect(loaded.map(\.access) == ["rx", "rw"])
    #expect(loaded.map(\.physicalAddress) == [0x10_0000, 0x20_0000])
    #expect(loaded.map(\.memoryBytes) == [16, 0x1000])
    #expect(try elf.part.bytes(at: loaded[1].offset, count: Int(loaded[1].fileBytes)) == [1, 2])
    #expect(try elf.physicalEntry(in: loaded) == 0x10_0008)
  }

  @Test func anEntryCanBeAPhysicalAddress() throws {
    let file = ELFBuilder(
      entry: 0x10_0004,
      segments: [.init(virtualAddress: 0xFFFF_FFFF_8010_0000, physicalAddress: 0x10_0000, bytes: [0, 0, 0, 0, 0])])
    let elf = try #require(try ELFFile(file.part))
    #expect(try elf.physicalEntry(in: elf.loaded()) == 0x10_0004)
  }

  @Test func whatDoesNotBeginAsAnELFFileIsNone() throws {
    for bytes in [[], [0x7F], [0x7F, 0x45, 0x4C], Array("MZ and more".utf8)] as [[UInt8]] {
      #expect(try ELFFile(ImagePart(bytes)) == nil)
    }
  }

  @Test(arguments: [4, 8]) func readsNotes(unit: Int) throws {
    let notes =
      ELFBuilder.note("Xen", 18, [1, 2, 3, 4], unit: unit) + ELFBuilder.note("", 7, [], unit: unit)
      + ELFBuilder.note("Solo5", 1, [9], unit: unit)
    let file = ELFBuilder(segments: [
      Self.code(0x10_0000),
      .init(type: ELFFile.Segment.note, virtualAddress: 0, bytes: notes, alignment: UInt64(unit)),
    ])
    let elf = try #require(try ELFFile(file.part))
    let found = try elf.notes()
    #expect(found.map(\.owner) == ["Xen", "", "Solo5"])
    #expect(found.map(\.type) == [18, 7, 1])
    #expect(found.map(\.descriptor) == [[1, 2, 3, 4], [], [9]])
    for note in found {
      #expect(try elf.part.bytes(at: note.offset, count: note.descriptor.count) == note.descriptor)
    }
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    let bytes: [UInt8]
    let error: ELFDefect
    var testDescription: String { error.description }

    init(_ error: ELFDefect, _ file: ELFBuilder, _ change: (inout [UInt8]) -> Void = { _ in }) {
      self.error = error
      var bytes = file.bytes
      change(&bytes)
      self.bytes = bytes
    }
  }

  private static let valid = ELFBuilder(entry: 0x10_0000, segments: [code(0x10_0000)])

  private static func with(_ segments: ELFBuilder.Segment...) -> ELFBuilder {
    ELFBuilder(entry: 0x10_0000, segments: segments)
  }

  private static func notes(_ bytes: [UInt8], offset: UInt64? = nil, fileBytes: UInt64? = nil) -> ELFBuilder {
    with(
      code(0x10_0000),
      .init(
        type: ELFFile.Segment.note, offset: offset, virtualAddress: 0, bytes: bytes, fileBytes: fileBytes))
  }

  static let refusals: [Refusal] = [
    Refusal(.truncated, valid) { $0.removeLast($0.count - 51) },
    Refusal(.truncated, valid) { $0.removeLast($0.count - 63) },
    Refusal(.truncated, valid) { $0.removeLast($0.count - 119) },
    Refusal(.truncated, valid) { $0[4] = 3 },
    Refusal(.truncated, valid) { $0.replaceSubrange(32..<40, with: [UInt8](repeating: 0xFF, count: 8)) },
    Refusal(.notLittleEndian, valid) { $0[5] = 2 },
    Refusal(.version, valid) { $0[6] = 0 },
    Refusal(.segmentHeaderSize(57, expected: 56), valid) { $0[54] = 57 },
    Refusal(.tooManySegments(0xFFFF, limit: 128), valid) { $0.replaceSubrange(56..<58, with: [0xFF, 0xFF]) },
    Refusal(.nothingToLoad, ELFBuilder()),
    Refusal(.nothingToLoad, with(.init(type: ELFFile.Segment.note, virtualAddress: 0))),
    Refusal(.nothingToLoad, with(.init(virtualAddress: 0x10_0000))),
    Refusal(.segmentBeyondFile(1), with(code(0), .init(offset: 1 << 20, virtualAddress: 1 << 20, bytes: [1]))),
    Refusal(
      .segmentBeyondFile(0), with(.init(virtualAddress: 0, bytes: [1], fileBytes: .max, memoryBytes: .max))),
    Refusal(.segmentBeyondFile(0), with(.init(offset: .max, virtualAddress: 0, bytes: [1], memoryBytes: 1))),
    Refusal(.segmentShorterThanFile(0), with(.init(virtualAddress: 0, bytes: [1, 2], memoryBytes: 1))),
    Refusal(.segmentShorterThanFile(0), with(.init(virtualAddress: 0, bytes: [1, 2], memoryBytes: 0))),
    Refusal(.segmentOverflows(0), with(.init(virtualAddress: .max, physicalAddress: 0, bytes: [1]))),
    Refusal(.segmentOverflows(0), with(.init(virtualAddress: 0, physicalAddress: .max, bytes: [1]))),
    Refusal(.segmentOverflows(0), with(.init(virtualAddress: 1, bytes: [1], memoryBytes: .max))),
    Refusal(.segmentsOverlap(0, 1), with(code(0x10_001F), code(0x10_0000))),
    Refusal(.segmentsOverlap(0, 1), with(code(0x10_0000), code(0x10_0000))),
    Refusal(.entryOutsideSegments(0x10_0000), with(code(0x10_0001))),
    Refusal(.entryOutsideSegments(0x10_0000), with(code(0xF_FFE0))),
    Refusal(
      .entryOutsideSegments(0x10_0000), with(.init(flags: 6, virtualAddress: 0x10_0000, bytes: [0x90]))),
    Refusal(.noteBeyondSegment(1), notes(Array(ELFBuilder.note("Solo5", 1, [1, 2, 3, 4]).dropLast(4)))),
    Refusal(.noteBeyondSegment(1), notes(Array(ELFBuilder.note("Xen", 18, [1, 2, 3, 4]).dropLast(4)))),
  ]

  @Test(arguments: refusals) func refusesByName(row: Refusal) {
    #expect(throws: row.error) {
      let elf = try #require(try ELFFile(ImagePart(row.bytes)))
      _ = try elf.physicalEntry(in: elf.loaded())
      _ = try elf.notes()
    }
  }
}

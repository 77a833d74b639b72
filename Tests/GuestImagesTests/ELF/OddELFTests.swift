import Testing

@testable import GuestImages

/// ELF kernels that linkers and their scripts make, valid but not as most are: they load. What decides how a file is started
/// and is damaged is refused by name.
struct OddELFTests {
  typealias Segment = ELFBuilder.Segment

  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    let segments: [Segment]
    let start: String
    var testDescription: String { name }

    init(_ name: String, _ segments: Segment..., start: String = "PVH") {
      self.name = name
      self.segments = segments
      self.start = start
    }
  }

  private static let code = Segment(virtualAddress: 0x20_0000, bytes: [0xB0, 7, 0xE6, 0xF4, 0xF4])
  private static let pvh = ELFBuilder.note("Xen", 18, [0, 0, 0x20, 0])
  private static let damage = [UInt8](repeating: 0xFF, count: 40)

  private static func notes(
    _ bytes: [UInt8], alignment: UInt64 = 4, offset: UInt64? = nil, fileBytes: UInt64? = nil
  ) -> Segment {
    Segment(
      type: ELFFile.Segment.note, offset: offset, virtualAddress: 0, bytes: bytes, fileBytes: fileBytes,
      alignment: alignment)
  }

  static let rows = [
    Row(
      "zeros alone, beyond the file's end", code,
      Segment(flags: 6, offset: 0x1_0000, virtualAddress: 0x20_1000, fileBytes: 0, memoryBytes: 0x1000), start: "64-bit"
    ),
    Row("no notes, beyond the file's end", code, notes([], offset: 0x1_0000, fileBytes: 0), start: "64-bit"),
    Row("notes beyond the file's end", code, notes([], offset: 0x1_0000, fileBytes: 64), start: "64-bit"),
    Row("damaged notes", code, notes(damage), start: "64-bit"),
    Row("PVH after damaged notes", code, notes(damage), notes(pvh)),
    Row("PVH before a damaged note", code, notes(pvh + damage)),
    Row("PVH, alignment 0", code, notes(pvh, alignment: 0)),
    Row("PVH, alignment 4096", code, notes(pvh, alignment: 4096)),
    Row(
      "alignment 8, and notes aligned to 4", code,
      notes(ELFBuilder.note("GNU", 1, [1, 2, 3, 4]) + pvh, alignment: 8)),
    Row(
      "alignment 8, properties aligned to it, and the others to 4", code,
      notes(
        ELFBuilder.note("GNU", 5, [UInt8](repeating: 1, count: 16), unit: 8)
          + ELFBuilder.note("Other", 0x101, Array("abcdef".utf8)) + pvh, alignment: 8)),
    Row(
      "alignment 8, and notes aligned to it", code,
      notes(
        ELFBuilder.note("GNU", 5, [1], unit: 8) + ELFBuilder.note("Xen", 18, [0, 0, 0x20, 0], unit: 8), alignment: 8)),
    Row("many notes", code, notes(pvh + ELFBuilder.note("big", 1, [UInt8](repeating: 7, count: 70_000)))),
    Row("an empty interpreter", code, Segment(type: ELFFile.Segment.interpreter, virtualAddress: 0), start: "64-bit"),
    Row(
      "writable code", Segment(flags: 7, virtualAddress: 0x20_0000, bytes: [0xB0, 7, 0xE6, 0xF4, 0xF4]), notes(pvh)),
  ]

  @Test(arguments: rows) func loads(row: Row) throws {
    let file = ELFBuilder(entry: 0x20_0000, segments: row.segments)
    let image = try GuestImage(name: "odd", ImageParts(main: file.part))
    #expect(image.description.notes["start"] == row.start)
    let layout = try image.layout(memoryBytes: 8 << 20, vcpus: 1)
    #expect(layout.segments.contains { $0.address == 0x20_0000 })
  }

  /// A file of 32 bits starts at its PVH note as one of 64 bits does.
  @Test func filesOf32BitsStartAtTheirNote() throws {
    let file = ELFBuilder(
      is64Bit: false, machine: ELFFile.i386, entry: 0x20_0000, segments: [Self.code, Self.notes(Self.pvh)])
    #expect(try GuestImage(name: "x", ImageParts(main: file.part)).description.notes["start"] == "PVH")
    let bare = ELFBuilder(is64Bit: false, machine: ELFFile.i386, entry: 0x20_0000, segments: [Self.code])
    let error = try #require(throws: ImageError.self) { try GuestImage(name: "x", ImageParts(main: bare.part)) }
    #expect("\(error)".contains("PVH note"))
  }

  /// In the information of a Multiboot loader: below 64 KiB, where QEMU has it, and above 4 GiB the rest of the memory.
  @Test func multibootFilesOf64BitsStartIn32BitMode() throws {
    let gib: UInt64 = 1 << 30
    let file = ELFBuilder(
      entry: 0xFFFF_FFFF_8020_000C,
      segments: [
        .init(
          virtualAddress: 0xFFFF_FFFF_8020_0000, physicalAddress: 0x20_0000,
          bytes: BootedImageTests.multibootHeader() + [0xF4])
      ])
    let image = try GuestImage(name: "x", ImageParts(main: file.part))
    let layout = try image.layout(memoryBytes: 8 * gib, vcpus: 1)
    let start = try #require(layout.starts[0])
    #expect(start.mode == .prot32 && start.entry == 0x20_000C && start.rbx == 0x9500)
    let map = try #require(layout.segments.first { $0.address == 0x9000 }).bytes()
    #expect(
      map.littleEndian(UInt64.self, at: 4 * 24 + 4) == 4 * gib
        && map.littleEndian(UInt64.self, at: 4 * 24 + 12) == 5 * gib)
    var withNote = file
    withNote.segments.append(Self.notes(ELFBuilder.note("Xen", 18, [0x0C, 0, 0x20, 0])))
    #expect(try GuestImage(name: "x", ImageParts(main: withNote.part)).description.kind == .elf)
  }

  @Test func defaultsAreEnoughToStart() throws {
    let low = try GuestImage(name: "x", ImageParts(main: ELFBuilder(entry: 0x20_0000, segments: [Self.code]).part))
    #expect(low.minimumMemory.mib == 3 && low.defaultMemoryMiB == 3)
    let high = ELFBuilder(entry: 0x400_0000, segments: [.init(virtualAddress: 0x400_0000, bytes: [0xF4])])
    let image = try GuestImage(name: "x", ImageParts(main: high.part))
    #expect(image.minimumMemory.mib == 65 && image.defaultMemoryMiB == 65)
    _ = try image.layout(memoryBytes: UInt64(image.defaultMemoryMiB) << 20, vcpus: 1)
    let linux = try LinuxBuilder(initSize: 67 << 20).image(initramfs: ImagePart(LinuxBuilder.initramfs(13 << 20)))
    #expect(linux.minimumMemory.mib == 81 && MinimumMemory.mib(linux.minimumMemory.kernelBytes) == 68)
    let error = try #require(throws: GuestLayoutError.self) { try linux.layout(memoryBytes: 64 << 20, vcpus: 1) }
    #expect("\(error)".contains("68 MiB, and 81 MiB with its initramfs"))
    #expect(linux.defaultMemoryMiB == 81 + 39 + 64)
  }
}

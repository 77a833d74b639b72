import TestSupport
import Testing

@testable import GuestImages

private let mib: UInt64 = 1 << 20

/// Kernels that are ELF files or Multiboot images: what is recognised, refused, and laid out where.
struct BootedImageTests {
  static let code = [UInt8](repeating: 0x90, count: 64)
  static let initramfs = ImagePart([UInt8](repeating: 7, count: 0x1001))

  static func elf(_ extra: ELFBuilder.Segment...) -> ELFBuilder {
    ELFBuilder(
      entry: 0x20_0010,
      segments: [
        .init(virtualAddress: 0x20_0000, bytes: code),
        .init(flags: 6, virtualAddress: 0x30_0000, bytes: [1, 2, 3], memoryBytes: 0x2000),
      ] + extra)
  }

  static func pvh(_ entry: [UInt8]) -> ELFBuilder {
    elf(.init(type: ELFFile.Segment.note, virtualAddress: 0, bytes: ELFBuilder.note("Xen", 18, entry)))
  }

  static let pvhFile = pvh([0x20, 0, 0x20, 0])

  static func words(_ words: UInt32...) -> [UInt8] { words.flatMap { [UInt8](littleEndian: $0) } }

  static func multibootHeader(flags: UInt32 = 3) -> [UInt8] { words(0x1BAD_B002, flags, 0 &- (0x1BAD_B002 &+ flags)) }

  /// An ELF file with a Multiboot header.
  static func multiboot(flags: UInt32 = 3) -> ELFBuilder {
    ELFBuilder(
      is64Bit: false, machine: ELFFile.i386, entry: 0x20_0010,
      segments: [
        .init(virtualAddress: 0x20_0000, bytes: multibootHeader(flags: flags) + code),
        .init(flags: 7, virtualAddress: 0x30_0000, bytes: [1, 2, 3], memoryBytes: 0x2000),
      ])
  }

  /// No ELF file: 32 bytes that are not loaded, then the header, which says where the rest belongs.
  static func addressed(
    header: UInt32 = 0x20_0000, load: UInt32 = 0x20_0000, loadEnd: UInt32 = 0, bssEnd: UInt32 = 0,
    entry: UInt32 = 0x20_0020
  ) -> [UInt8] {
    [UInt8](repeating: 0xEE, count: 32) + multibootHeader(flags: 1 << 16)
      + words(header, load, loadEnd, bssEnd, entry) + code
  }

  private static func image(
    _ bytes: [UInt8], kind: GuestKind? = nil, initramfs: ImagePart? = nil, commandLine: String? = nil
  ) throws -> GuestImage {
    let parts = ImageParts(main: ImagePart(bytes), initramfs: initramfs, commandLine: commandLine)
    return try GuestImage(name: "image", parts, kind: kind)
  }

  // MARK: Recognising

  struct Recognition: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let kind: GuestKind
    let entry: UInt64
    let notes: [String: String]
    var testDescription: String { name }
  }

  static let recognised = [
    Recognition(name: "ELF", bytes: elf().bytes, kind: .elf, entry: 0x20_0010, notes: ["start": "64-bit"]),
    Recognition(name: "PVH", bytes: pvhFile.bytes, kind: .elf, entry: 0x20_0020, notes: ["start": "PVH"]),
    Recognition(
      name: "PVH, 8 bytes", bytes: pvh([0x20, 0, 0x20, 0, 0, 0, 0, 0]).bytes, kind: .elf, entry: 0x20_0020,
      notes: ["start": "PVH"]),
    Recognition(
      name: "Multiboot", bytes: multiboot().bytes, kind: .multiboot, entry: 0x20_0010, notes: ["start": "Multiboot"]),
    Recognition(
      name: "Multiboot with addresses", bytes: addressed(), kind: .multiboot, entry: 0x20_0020,
      notes: ["start": "Multiboot"]),
    // As such a loader starts it, in 32-bit mode.
    Recognition(
      name: "ELF with a Multiboot header",
      bytes: ELFBuilder(
        entry: 0x20_0010, segments: [.init(virtualAddress: 0x20_0000, bytes: multibootHeader() + code)]
      ).bytes, kind: .multiboot, entry: 0x20_0010, notes: ["start": "Multiboot"]),
  ]

  @Test(arguments: recognised) func isRecognised(row: Recognition) throws {
    for kind in [nil, row.kind] {
      let description = try Self.image(row.bytes, kind: kind).description
      #expect(description.kind == row.kind)
      #expect(description.entry == row.entry)
      #expect(description.notes == row.notes)
      #expect(description.sizeBytes == UInt64(row.bytes.count))
      #expect(description.ring == 0)
    }
  }

  @Test func describesItsSegments() throws {
    let description = try Self.image(Self.elf().bytes).description
    #expect(
      description.segments == [
        .init(address: 0x20_0000, fileBytes: 64, memoryBytes: 64, access: "rx"),
        .init(address: 0x30_0000, fileBytes: 3, memoryBytes: 0x2000, access: "rw"),
      ])
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    var bytes: [UInt8]
    var kind: GuestKind?
    var parts: @Sendable (inout ImageParts) -> Void = { _ in }
    var error: ImageError
    var testDescription: String { error.description }
  }

  private static func elf(change: (inout ELFBuilder) -> Void) -> [UInt8] {
    var file = elf()
    change(&file)
    return file.bytes
  }

  private static func text(_ count: Int) -> String { String(repeating: "a", count: count) }

  private static func tooLong(_ bytes: Int, limit: Int) -> ImageError {
    .commandLine(.tooLong(what: "command line", bytes: bytes, limit: limit))
  }

  /// An image that is stored is one that VMs can be made of.
  @Test(arguments: [(pvhFile.bytes, 4095), (multiboot().bytes, 4088)])
  func theLongestCommandLineFits(file: [UInt8], count: Int) throws {
    let image = try Self.image(file, commandLine: Self.text(count))
    #expect(throws: Never.self) { try image.layout(memoryBytes: 4 * mib, vcpus: 1) }
  }

  static let refusals = [
    Refusal(bytes: Array("MZ".utf8), error: .notRecognised),
    Refusal(bytes: [], error: .foreign(.empty)),
    Refusal(bytes: Array("MZ".utf8), kind: .elf, error: .notOfKind(.elf)),
    Refusal(bytes: elf().bytes, kind: .multiboot, error: .notOfKind(.multiboot)),
    Refusal(bytes: elf { $0.is64Bit = false }, error: .elf(.not64Bit)),
    Refusal(bytes: elf { $0.machine = 183 }, error: .elf(.machine(183, expected: 62))),
    Refusal(bytes: elf { $0.type = ELFFile.sharedObject }, error: .elf(.type(3))),
    Refusal(bytes: elf { $0.type = 1 }, error: .elf(.type(1))),
    Refusal(bytes: elf { $0.entry = 0x10_0000 }, error: .elf(.entryOutsideSegments(0x10_0000))),
    Refusal(bytes: elf(.init(type: 3, virtualAddress: 0, bytes: [0])).bytes, error: .elf(.interpreter(2))),
    Refusal(bytes: elf(.init(type: 2, virtualAddress: 0)).bytes, error: .elf(.dynamic(2))),
    Refusal(bytes: elf { $0.segments[1].virtualAddress = 0x20_003F }, error: .elf(.segmentsOverlap(0, 1))),
    Refusal(bytes: elf { $0.segments[1].memoryBytes = .max }, error: .elf(.segmentOverflows(1))),
    Refusal(bytes: pvh([1, 2, 3]).bytes, error: .elf(.pvhEntry)),
    Refusal(bytes: pvh([0, 0, 0, 0, 1, 0, 0, 0]).bytes, error: .elf(.pvhEntry)),
    Refusal(bytes: pvh([0x40, 0, 0x20, 0]).bytes, error: .elf(.pvhEntryOutsideSegments(0x20_0040))),
    Refusal(bytes: elf().bytes, parts: { $0.initramfs = initramfs }, error: .unusedPart("initramfs", .elf)),
    Refusal(bytes: elf().bytes, parts: { $0.commandLine = "" }, error: .unusedPart("command line", .elf)),
    Refusal(bytes: pvhFile.bytes, parts: { $0.blocks = ["a": initramfs] }, error: .unusedPart("block device", .elf)),
    Refusal(
      bytes: pvhFile.bytes, parts: { $0.flat = FlatPlacement(mode: .real16) }, error: .unusedPart("mode", .elf)),
    Refusal(
      bytes: multiboot().bytes, parts: { $0.blocks = ["a": initramfs] },
      error: .unusedPart("block device", .multiboot)),
    Refusal(bytes: pvhFile.bytes, parts: { $0.commandLine = text(4096) }, error: tooLong(4096, limit: 4095)),
    Refusal(bytes: multiboot().bytes, parts: { $0.commandLine = text(4089) }, error: tooLong(4089, limit: 4088)),
    Refusal(
      bytes: multiboot().bytes, parts: { $0.commandLine = "a\0" },
      error: .commandLine(.forbiddenByte(what: "command line"))),
    Refusal(bytes: multiboot(flags: 7).bytes, error: .multiboot(.needs(flags: 4))),
    Refusal(bytes: multiboot(flags: 0xFFFF).bytes, error: .multiboot(.needs(flags: 0xFFFC))),
    Refusal(bytes: multibootHeader() + code, error: .multiboot(.noAddresses)),
    // The flags say that addresses follow, and the file ends.
    Refusal(bytes: multibootHeader(flags: 1 << 16), error: .multiboot(.noAddresses)),
    Refusal(
      bytes: {
        var file = multiboot()
        file.segments.append(.init(type: 3, virtualAddress: 0, bytes: [0]))
        return file.bytes
      }(), error: .elf(.interpreter(2))),
    Refusal(
      bytes: {
        var file = multiboot()
        file.machine = ELFFile.x86_64
        return file.bytes
      }(), error: .elf(.machine(62, expected: 3))),
    Refusal(bytes: addressed(entry: 0x1F_FFFF), error: .multiboot(.entryOutside(0x1F_FFFF))),
    Refusal(bytes: addressed(entry: 0x20_0060), error: .multiboot(.entryOutside(0x20_0060))),
  ]

  @Test(arguments: refusals) func refusesByName(row: Refusal) {
    #expect(throws: row.error) {
      var parts = ImageParts(main: ImagePart(row.bytes))
      row.parts(&parts)
      _ = try GuestImage(name: "image", parts, kind: row.kind)
    }
  }

  /// Addresses that contradict each other or the file, which has 96 bytes from the header on and 32 before it.
  static let contradictions: [MultibootError.Addresses] = [
    .init(header: 0x1F_FFFF, load: 0x20_0000, loadEnd: 0, bssEnd: 0, entry: 0x20_0020),
    .init(header: 0x20_0021, load: 0x20_0000, loadEnd: 0, bssEnd: 0, entry: 0x20_0020),
    .init(header: .max, load: 0, loadEnd: 0, bssEnd: 0, entry: 0),
    .init(header: 0x20_0000, load: 0x20_0000, loadEnd: 0x20_0061, bssEnd: 0, entry: 0x20_0020),
    .init(header: 0x20_0000, load: 0x20_0000, loadEnd: 0x20_0000, bssEnd: 0, entry: 0x20_0000),
    .init(header: 0x20_0000, load: 0x20_0000, loadEnd: 0, bssEnd: 0x20_005F, entry: 0x20_0020),
    .init(header: 0x20_0000, load: 0x20_0000, loadEnd: 0x20_0030, bssEnd: 0x20_002F, entry: 0x20_0020),
  ]

  @Test(arguments: contradictions) func refusesAddressesThatContradict(row: MultibootError.Addresses) {
    let bytes = Self.addressed(
      header: row.header, load: row.load, loadEnd: row.loadEnd, bssEnd: row.bssEnd, entry: row.entry)
    #expect(throws: ImageError.multiboot(.addresses(row))) { try Self.image(bytes) }
  }

  @Test func aMultibootHeaderIsLookedForWhereItMayBe() throws {
    for (padding, found) in [(0, true), (4, true), (8128, true), (8132, false), (2, false), (8192, false)] {
      let bytes = [UInt8](repeating: 0, count: padding) + Self.addressed(header: 0x20_0000)
      #expect(((try? Self.image(bytes)) != nil) == found, "\(padding)")
    }
  }
}

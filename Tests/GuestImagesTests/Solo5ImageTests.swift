import TestSupport
import Testing

@testable import GuestImages

/// A Solo5 unikernel put together byte by byte, right or wrong as the test wants it.
struct Solo5Builder {
  struct Entry {
    var name: [UInt8]
    var type: UInt32 = 1
    var attached: UInt8 = 0

    init(_ name: String, type: UInt32 = 1, attached: UInt8 = 0) {
      (self.name, self.type, self.attached) = (Array(name.utf8), type, attached)
    }

    var bytes: [UInt8] {
      let padded = name + [UInt8](repeating: 0, count: max(0, 68 - name.count))
      return Array(padded[..<68]) + [UInt8](littleEndian: type) + [UInt8](repeating: 0, count: 24) + [attached]
        + [UInt8](repeating: 0, count: 7)
    }
  }

  var interface: [UInt32] = [1, 2, 0, 0]
  var entries = [Entry("", type: 1 << 30)]
  var manifestVersion: UInt32 = 1
  var entryCount: UInt32?
  var manifestTail: [UInt8] = []
  var hasManifest = true
  var elf = ELFBuilder(
    entry: 0x100010,
    segments: [
      .init(flags: 5, virtualAddress: 0x100000, bytes: [UInt8](repeating: 0x90, count: 0x20), alignment: 0x1000),
      .init(flags: 4, virtualAddress: 0x101000, bytes: [1, 2, 3], alignment: 0x1000),
      .init(flags: 6, virtualAddress: 0x102000, bytes: [4], memoryBytes: 0x1001, alignment: 0x1000),
    ])

  var bytes: [UInt8] {
    var elf = elf
    let descriptor = interface.flatMap { [UInt8](littleEndian: $0) }
    elf.segments.append(note(0x3149_4241, descriptor))
    if hasManifest {
      let head = [UInt32(0), manifestVersion, entryCount ?? UInt32(entries.count)]
      let manifest = head.flatMap { [UInt8](littleEndian: $0) } + entries.flatMap(\.bytes) + manifestTail
      elf.segments.append(note(0x3154_464D, manifest))
    }
    return elf.bytes
  }

  private func note(_ type: UInt32, _ descriptor: [UInt8]) -> ELFBuilder.Segment {
    .init(
      type: ELFFile.Segment.note, flags: 4, virtualAddress: 0x101000, bytes: ELFBuilder.note("Solo5", type, descriptor))
  }

  func image(_ blocks: [String: UInt64] = [:], commandLine: String? = nil) throws -> GuestImage {
    let contents = blocks.mapValues { ImagePart([UInt8](repeating: 7, count: Int($0))) }
    return try GuestImage(
      name: "unikernel", ImageParts(main: ImagePart(bytes), blocks: contents, commandLine: commandLine))
  }
}

struct Solo5ImageTests {
  private static let mib: UInt64 = 1 << 20

  struct Refusal: Sendable, CustomTestStringConvertible {
    let error: ImageError
    let blocks: [String: UInt64]
    let commandLine: String?
    let change: @Sendable (inout Solo5Builder) -> Void
    var testDescription: String { error.description }

    init(
      _ error: Solo5Error, blocks: [String: UInt64] = [:], commandLine: String? = nil,
      _ change: @escaping @Sendable (inout Solo5Builder) -> Void = { _ in }
    ) {
      self.init(image: .solo5(error), blocks: blocks, commandLine: commandLine, change)
    }

    init(
      image error: ImageError, blocks: [String: UInt64] = [:], commandLine: String? = nil,
      _ change: @escaping @Sendable (inout Solo5Builder) -> Void = { _ in }
    ) {
      (self.error, self.blocks, self.commandLine, self.change) = (error, blocks, commandLine, change)
    }
  }

  static let refusals = [
    Refusal(.foreignTarget("spt")) { $0.interface[0] = 2 },
    Refusal(.foreignTarget("virtio")) { $0.interface[0] = 3 },
    Refusal(.foreignTarget("muen")) { $0.interface[0] = 4 },
    Refusal(.foreignTarget("genode")) { $0.interface[0] = 5 },
    Refusal(.foreignTarget("xen")) { $0.interface[0] = 6 },
    Refusal(.foreignTarget("the unknown target 7")) { $0.interface[0] = 7 },
    Refusal(.interfaceVersion(1)) { $0.interface[1] = 1 },
    Refusal(.interfaceVersion(3)) { $0.interface[1] = 3 },
    Refusal(.interfaceNote(bytes: 12)) { $0.interface.removeLast() },
    Refusal(.interfaceNote(bytes: 0)) { $0.interface = [] },
    Refusal(.notExecutable) { $0.elf.type = ELFFile.sharedObject },
    Refusal(.notExecutable) { $0.elf.machine = 183 },
    Refusal(.noManifest) { $0.hasManifest = false },
    Refusal(.manifestVersion(2)) { $0.manifestVersion = 2 },
    Refusal(.manifestEntries(0)) { $0.entryCount = 0 },
    Refusal(.manifestEntries(65)) { $0.entryCount = 65 },
    Refusal(.manifestEntries(.max)) { $0.entryCount = .max },
    Refusal(.manifestSize(bytes: 112)) { $0.entryCount = 2 },
    Refusal(.manifestSize(bytes: 113)) { $0.manifestTail = [0] },
    Refusal(.manifestHead) { $0.entries[0].type = 1 },
    Refusal(.manifestHead) { $0.entries[0].name = [65] },
    Refusal(.manifestHead) { $0.entries[0].attached = 1 },
    Refusal(.deviceName(entry: 1)) { $0.entries.append(.init("")) },
    Refusal(.deviceName(entry: 1)) { $0.entries.append(.init("a-b")) },
    Refusal(.deviceName(entry: 2)) { $0.entries += [.init("a"), .init("\u{E4}")] },
    Refusal(.deviceName(entry: 1)) { $0.entries.append(.init(String(repeating: "a", count: 68))) },
    Refusal(.deviceTwice("a"), blocks: ["a": 512]) { $0.entries += [.init("a"), .init("a", type: 2)] },
    Refusal(.deviceType("a", 3)) { $0.entries.append(.init("a", type: 3)) },
    Refusal(.deviceType("a", 1 << 30)) { $0.entries.append(.init("a", type: 1 << 30)) },
    Refusal(.deviceAttached("a")) { $0.entries.append(.init("a", attached: 1)) },
    Refusal(.networkDevice("service")) { $0.entries.append(.init("service", type: 2)) },
    Refusal(.blockMissing("b"), blocks: ["a": 512]) { $0.entries += [.init("a"), .init("b")] },
    Refusal(.blockUnknown("b"), blocks: ["a": 512, "b": 512]) { $0.entries.append(.init("a")) },
    Refusal(.blockSize("a", bytes: 0), blocks: ["a": 0]) { $0.entries.append(.init("a")) },
    Refusal(.blockSize("a", bytes: 513), blocks: ["a": 513]) { $0.entries.append(.init("a")) },
    Refusal(.segmentTooLow(0, 0xFF000)) {
      ($0.elf.segments[0].virtualAddress, $0.elf.entry) = (0xFF000, 0xFF000)
    },
    Refusal(.segmentTooHigh(2)) { $0.elf.segments[2].memoryBytes = 0xC000_0000 },
    Refusal(.segmentsSharePage(0, 1)) { $0.elf.segments[1].virtualAddress = 0x100800 },
    Refusal(.writableCode(0)) { $0.elf.segments[0].flags = 7 },
    Refusal(.segmentMoved(1)) { $0.elf.segments[1].physicalAddress = 0x300000 },
    Refusal(.scatteredSegments(limit: 8)) { builder in
      for index in 1...8 {
        builder.elf.segments.append(
          .init(flags: 4, virtualAddress: UInt64(index) << 21, bytes: [1], alignment: 0x1000))
      }
    },
    Refusal(.commandLineLength(8192, limit: 8191), commandLine: String(repeating: "x", count: 8192)),
    Refusal(.commandLineNUL, commandLine: "a\0b"),
    Refusal(image: .elf(.entryOutsideSegments(0x101000))) { $0.elf.entry = 0x101000 },
    Refusal(image: .elf(.segmentsOverlap(0, 1))) { $0.elf.segments[1].virtualAddress = 0x10001F },
    Refusal(image: .elf(.segmentOverflows(2))) { $0.elf.segments[2].memoryBytes = .max },
    Refusal(image: .elf(.segmentBeyondFile(1))) { $0.elf.segments[1].offset = 1 << 40 },
  ]

  @Test(arguments: refusals) func refuses(_ refusal: Refusal) {
    var builder = Solo5Builder()
    refusal.change(&builder)
    #expect(throws: refusal.error) { try builder.image(refusal.blocks, commandLine: refusal.commandLine) }
    #expect(refusal.error.description.hasSuffix("."))
    #expect(refusal.error.description.contains(". "))
  }

  @Test func partsThatItHasNoUseForAreRefused() {
    let main = ImagePart(Solo5Builder().bytes)
    #expect(throws: ImageError.unusedPart("initramfs", .solo5)) {
      try GuestImage(name: "unikernel", ImageParts(main: main, initramfs: main))
    }
    #expect(throws: ImageError.unusedPart("mode", .solo5)) {
      try GuestImage(name: "unikernel", ImageParts(main: main, flat: FlatPlacement(mode: .long64)), kind: .solo5)
    }
    #expect(throws: ImageError.notOfKind(.solo5)) {
      try GuestImage(name: "unikernel", ImageParts(main: ImagePart([1, 2, 3])), kind: .solo5)
    }
  }

  @Test func describesItself() throws {
    var builder = Solo5Builder()
    builder.entries += [.init("data"), .init("more")]
    let image = try builder.image(["data": 512, "more": 1024])
    let description = image.description
    #expect(description.kind == .solo5 && description.ring == 0 && description.maxVCPUs == 1)
    #expect(description.entry == 0x100010)
    #expect(description.sizeBytes == UInt64(builder.bytes.count) + 1536)
    #expect(description.segments.map(\.access) == ["rx", "r", "rw"])
    #expect(description.notes == ["abi": "hvt version 2", "block_devices": "data more"])
  }

  @Test func isToldWhatItDeclares() throws {
    var builder = Solo5Builder()
    builder.entries += [.init("data"), .init("more")]
    let layout = try builder.image(["data": 512, "more": 1024], commandLine: "a b").layout(
      memoryBytes: 5 * Self.mib, vcpus: 1)
    let start = try #require(layout.starts.first ?? nil)
    #expect(layout.starts.count == 1)
    #expect(start.mode == .long64 && start.ring == 0 && start.entry == 0x100010)
    #expect(start.stackPointer == 4 * Self.mib - 8 && start.firstArgument == 0x10000)
    let told = try #require(layout.segments.first { $0.address == 0x10000 }).bytes()
    let words = (0..<8).map { told.littleEndian(UInt64.self, at: 8 * $0) ?? 0 }
    let commandLine: UInt64 = 0x10040 + 8 + 3 * 104
    #expect(words == [4 * Self.mib, 0x104000, 0, commandLine, 0x10040, 0, 0, 0])
    #expect(try #require(layout.segments.first { $0.address == commandLine }).bytes() == Array("a b\0".utf8))
    #expect(layout.arguments.commandLine == .init(address: commandLine, capacity: 8191))
    let more = Array(told[(64 + 8 + 2 * 104)...])
    #expect(Array(more[..<5]) == Array("more\0".utf8))
    #expect(more.littleEndian(UInt32.self, at: 68) == 1)
    #expect(more.littleEndian(UInt64.self, at: 72) == 1024)
    #expect(more.littleEndian(UInt16.self, at: 80) == 512)
    #expect(more[96] == 1)
    guard case .solo5(let platform) = layout.platform else { return #expect(Bool(false), "\(layout.platform)") }
    #expect(platform.blocks.mapValues(\.count) == [1: 512, 2: 1024])
    #expect(platform.frequencyAddress == 0x10010)
    #expect(!layout.platform.hasInterrupts)
  }

  @Test func wantsRoomBesideItself() throws {
    var builder = Solo5Builder()
    let image = try builder.image()
    _ = try image.layout(memoryBytes: 2 * Self.mib, vcpus: 1)
    #expect(
      throws: GuestLayoutError.memoryTooSmall(
        memoryBytes: 2 * Self.mib - 1, needed: MinimumMemory(kernelBytes: 2 * Self.mib))
    ) {
      try image.layout(memoryBytes: 2 * Self.mib - 1, vcpus: 1)
    }
    #expect(throws: GuestLayoutError.vcpuCount(2, limit: 1)) { try image.layout(memoryBytes: 1 << 30, vcpus: 2) }
    // 512 KiB beside itself, and one page less.
    builder.elf.segments[2].memoryBytes = 0x7E000
    _ = try builder.image().layout(memoryBytes: 2 * Self.mib, vcpus: 1)
    builder.elf.segments[2].memoryBytes = 0x7E001
    let larger = try builder.image()
    #expect(
      throws: GuestLayoutError.memoryTooSmall(
        memoryBytes: 2 * Self.mib, needed: MinimumMemory(kernelBytes: 4 * Self.mib))
    ) {
      try larger.layout(memoryBytes: 2 * Self.mib, vcpus: 1)
    }
  }

  /// Walks page tables as the processor does: where an address leads, and whether it may be written and executed.
  private struct Walker {
    var memory: [UInt64: [UInt8]] = [:]

    func access(_ address: UInt64) -> String? {
      var table: UInt64 = 0x2000
      var (isWritable, isExecutable) = (true, true)
      for level in [39, 30, 21, 12] as [UInt64] {
        let index = Int(address >> level & 511)
        guard let entry = memory[table]?.littleEndian(UInt64.self, at: 8 * index), entry & 1 != 0 else { return nil }
        isWritable = isWritable && entry & 2 != 0
        isExecutable = isExecutable && entry >> 63 == 0
        table = entry & 0x000F_FFFF_FFFF_F000
        guard level == 12 || entry & 0x80 != 0 else { continue }
        guard table == (address >> level) << level, entry & 0x60 == 0x60 else { return "elsewhere" }
        return "r" + (isWritable ? "w" : "") + (isExecutable ? "x" : "")
      }
      return nil
    }
  }

  private static let expected: [(UInt64, String?)] = [
    (0, nil), (0xFFFF, nil), (0x10000, "r"), (0xF_FFFF, "r"), (0x10_0000, "rx"), (0x10_0FFF, "rx"), (0x10_1000, "r"),
    (0x10_2000, "rw"), (0x10_3FFF, "rw"), (0x10_4000, "rw"), (0x1F_FFFF, "rw"), (0x20_0000, "rw"), (0x3F_FFFF, "rw"),
    (0x40_0000, nil), (1 << 30, nil), (0xC000_0000, nil), (0xFFFF_8000_0000_0000, nil),
  ]

  @Test func pagesHaveThePermissionsOfTheirSegments() throws {
    let layout = try Solo5Builder().image().layout(memoryBytes: 4 * Self.mib, vcpus: 1)
    var walker = Walker()
    var end: UInt64 = 0
    for segment in layout.segments {
      #expect(segment.address >= end)
      end = segment.address + segment.count
      walker.memory[segment.address] = try segment.bytes()
    }
    for (address, access) in Self.expected { #expect(walker.access(address) == access, "\(address)") }
  }

  @Test func largeSegmentsAreMappedInLargePages() throws {
    var builder = Solo5Builder()
    builder.elf.segments[2].virtualAddress = 0x400000
    builder.elf.segments[2].memoryBytes = 0x601000
    builder.elf.segments.append(
      .init(flags: 1, virtualAddress: 0x8000_0000, bytes: [0xF4], memoryBytes: 0x20_0000, alignment: 0x1000))
    builder.elf.segments.append(.init(flags: 0, virtualAddress: 0x8020_0000, bytes: [0xF4], alignment: 0x1000))
    let layout = try builder.image().layout(memoryBytes: 4 << 30, vcpus: 1)
    var walker = Walker()
    for segment in layout.segments where segment.address < 0x10000 {
      walker.memory[segment.address] = try segment.bytes()
    }
    let expected: [(UInt64, String?)] = [
      (0x40_0000, "rw"), (0x9F_FFFF, "rw"), (0xA0_0000, "rw"), (0x7FFF_FFFF, "rw"), (0x8000_0000, "rx"),
      (0x801F_FFFF, "rx"), (0x8020_0000, nil), (0x8020_0FFF, nil), (0x8020_1000, "rw"), (0xBFFF_FFFF, "rw"),
      (0xC000_0000, nil),
    ]
    for (address, access) in expected { #expect(walker.access(address) == access, "\(address)") }
    #expect(layout.starts.first??.stackPointer == 3 << 30 - 8)
  }

  /// Thousands of damaged unikernels: refused or laid out, and what is laid out is inside memory.
  @Test func damagedImagesNeverTrap() throws {
    var random = SeededGenerator(for: "Solo5ImageTests.damagedImagesNeverTrap")
    var builder = Solo5Builder()
    builder.entries.append(.init("disk"))
    let sound = builder.bytes
    let disk = ImagePart([UInt8](repeating: 0, count: 512))
    let special: [UInt8] = [0, 1, 2, 0x7F, 0x80, 0xFF]
    var accepted = 0
    for _ in 0..<5000 {
      var bytes = sound
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        let isSpecial = Bool.random(using: &random)
        let value = isSpecial ? special.randomElement(using: &random) ?? 0 : UInt8.random(in: 0...255, using: &random)
        for index in place..<min(bytes.count, place + [1, 1, 1, 4, 8][Int.random(in: 0..<5, using: &random)]) {
          bytes[index] = value
        }
      }
      if Int.random(in: 0..<8, using: &random) == 0 {
        bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
      }
      guard
        let image = try? GuestImage(name: "x", ImageParts(main: ImagePart(bytes), blocks: ["disk": disk])),
        let layout = try? image.layout(memoryBytes: 64 * Self.mib, vcpus: 1)
      else { continue }
      accepted += 1
      _ = image.description
      var end: UInt64 = 0
      for segment in layout.segments {
        #expect(segment.address >= end)
        let bytes = try segment.bytes()
        end = segment.address + UInt64(bytes.count)
      }
      #expect(end <= 64 * Self.mib)
    }
    // Most damage is somewhere where it does no harm.
    #expect(accepted > 500)
  }
}

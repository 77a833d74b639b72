import GuestMemory
import Processor
import TestSupport
import Testing

@testable import GuestImages

private let mib: UInt64 = 1 << 20

extension GuestLayout {
  /// What is in memory before the guest starts, and what it is told afterwards.
  fileprivate func bytes(at address: UInt64, count: Int, told: [GuestSegment] = []) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    for segment in segments + told {
      for (index, byte) in try segment.bytes().enumerated() {
        let place = segment.address + UInt64(index)
        if place >= address, place - address < UInt64(count) { bytes[Int(place - address)] = byte }
      }
    }
    return bytes
  }

  fileprivate func word(_ address: UInt64, told: [GuestSegment] = []) throws -> UInt32 {
    try #require(try bytes(at: address, count: 4, told: told).littleEndian(UInt32.self, at: 0))
  }

  fileprivate func quad(_ address: UInt64) throws -> UInt64 {
    try #require(try bytes(at: address, count: 8).littleEndian(UInt64.self, at: 0))
  }

  fileprivate func text(_ address: UInt64, told: [GuestSegment] = []) throws -> String {
    String(decoding: try bytes(at: address, count: 0x4000, told: told).prefix { $0 != 0 }, as: UTF8.self)
  }
}

/// Whether a layout keeps what it promises: segments that ascend, are disjoint and are in memory.
private func expectSound(_ layout: GuestLayout, memoryBytes: UInt64, vcpus: Int) throws {
  var end: UInt64 = 0
  for segment in layout.segments {
    #expect(segment.address >= end)
    end = segment.address + segment.count
    if case .part(let part, let offset, let count) = segment.contents {
      #expect(part.contains(offset: offset, count: count))
    }
  }
  #expect(end <= memoryBytes)
  #expect(layout.starts.count == vcpus)
  #expect(layout.starts.first.flatMap { $0 } != nil)
}

/// Kernels that are ELF files or Multiboot images, in memory.
struct BootedLayoutTests {
  private static func image(
    _ bytes: [UInt8], initramfs: ImagePart? = nil, commandLine: String? = nil
  ) throws -> GuestImage {
    try GuestImage(
      name: "image", ImageParts(main: ImagePart(bytes), initramfs: initramfs, commandLine: commandLine))
  }

  @Test func elfInMemory() throws {
    let layout = try Self.image(BootedImageTests.elf().bytes).layout(memoryBytes: 4 * mib, vcpus: 2)
    try expectSound(layout, memoryBytes: 4 * mib, vcpus: 2)
    #expect(layout.platform == .minimal)
    #expect(layout.arguments == ArgumentPlaces())
    #expect(try layout.bytes(at: 0x20_0000, count: 65) == BootedImageTests.code + [0])
    #expect(try layout.bytes(at: 0x30_0000, count: 4) == [1, 2, 3, 0])
    for (index, start) in layout.starts.enumerated() {
      let expected = CPUStart(
        mode: .long64, ring: 0, entry: 0x20_0010, codeSegmentBase: 0, stackPointer: 0x9000 + 0x1000 * UInt64(index),
        pageTableRoot: 0x1000, firstArgument: UInt64(index), ioPrivilegeLevel: 0)
      #expect(start == expected)
    }
  }

  @Test func pvhInMemory() throws {
    let image = try Self.image(
      BootedImageTests.pvhFile.bytes, initramfs: BootedImageTests.initramfs, commandLine: "a b")
    let layout = try image.layout(memoryBytes: 4 * mib, vcpus: 2)
    try expectSound(layout, memoryBytes: 4 * mib, vcpus: 2)
    #expect(layout.platform == .pc)
    let start = try #require(layout.starts[0])
    #expect(layout.starts[1] == nil)
    #expect((start.mode, start.ring, start.entry) == (.prot32, 0, 0x20_0020))
    let info = start.rbx
    // start_info.h: magic, version, flags, number of modules.
    #expect(try (0..<4).map { try layout.word(info + 4 * $0) } == [0x336E_C578, 1, 0, 1])
    let module = try layout.quad(info + 16)
    let commandLine = try layout.quad(info + 24)
    #expect(try layout.quad(info + 32) == PCMemoryMap.tables.lowerBound)
    let map = try layout.quad(info + 40)
    #expect(try layout.quad(info + 48) == 4)
    let address = try layout.quad(module)
    #expect(address == 4 * mib - 0x2000)
    #expect(try layout.quad(module + 8) == 0x1001)
    #expect(try layout.bytes(at: address, count: 0x1002) == [UInt8](repeating: 7, count: 0x1001) + [0])
    #expect(try layout.text(commandLine) == "a b")
    let ranges = try (0..<12).map { try layout.quad(map + 8 * $0) }
    #expect(
      ranges == [0, 0x9_FC00, 1, 0x9_FC00, 0x400, 2, 0xE_0000, 0x2_0000, 2, mib, 3 * mib, 1])
    let told = try layout.arguments.segments(for: GuestArguments(commandLine: "c"))
    #expect(try layout.text(commandLine, told: told) == "c")
    #expect(throws: GuestArgumentsError.noEnvironment) {
      try layout.arguments.segments(for: GuestArguments(environment: [:]))
    }
  }

  @Test(arguments: [BootedImageTests.multiboot().bytes, BootedImageTests.addressed()])
  func multibootInMemory(bytes: [UInt8]) throws {
    let image = try Self.image(bytes)
    let layout = try image.layout(memoryBytes: 4 * mib, vcpus: 2)
    try expectSound(layout, memoryBytes: 4 * mib, vcpus: 2)
    #expect(layout.platform == .pc)
    let start = try #require(layout.starts[0])
    #expect(layout.starts[1] == nil)
    #expect((start.mode, start.rax, start.entry) == (.prot32, 0x2BAD_B002, try #require(image.description.entry)))
    let info = start.rbx
    #expect(try layout.word(info) == 0x24D)
    #expect(try layout.word(info + 4) == 639)
    #expect(try layout.word(info + 8) == 3 * 1024)
    #expect(try layout.text(UInt64(layout.word(info + 16))) == "kernel ")
    #expect(try layout.word(info + 20) == 0)
    #expect(try layout.word(info + 44) == 96)
    let map = UInt64(try layout.word(info + 48))
    let ranges = try (0..<24).map { try layout.word(map + 4 * $0) }
    #expect(
      ranges == [
        20, 0, 0, 0x9_FC00, 0, 1, 20, 0x9_FC00, 0, 0x400, 0, 2, 20, 0xE_0000, 0, 0x2_0000, 0, 2, 20, UInt32(mib), 0,
        UInt32(3 * mib), 0, 1,
      ])
    #expect(try layout.text(UInt64(layout.word(info + 64))) == "vmpool")
  }

  @Test(arguments: [0, 1]) func multibootIsTold(modules: Int) throws {
    let image = try Self.image(
      BootedImageTests.multiboot().bytes, initramfs: modules == 0 ? nil : BootedImageTests.initramfs,
      commandLine: "a b")
    let layout = try image.layout(memoryBytes: 4 * mib, vcpus: 1)
    try expectSound(layout, memoryBytes: 4 * mib, vcpus: 1)
    let info = MultibootInformation.address
    let commandLine = UInt64(try layout.word(info + 16))
    let table = UInt64(try layout.word(info + 24))
    #expect(try layout.text(commandLine) == "kernel a b")
    #expect(try layout.word(info + 20) == UInt32(modules))
    if modules == 1 { #expect(try [layout.word(table), layout.word(table + 4)] == [0x3F_E000, 0x3F_F001]) }

    let told = try layout.arguments.segments(for: GuestArguments(commandLine: "c", environment: ["B": "2", "A": "1"]))
    #expect(try layout.text(commandLine, told: told) == "kernel c")
    #expect(try layout.word(info + 20, told: told) == UInt32(modules) + 1)
    let entry = table + 16 * UInt64(modules)
    let environment = try layout.word(entry, told: told)
    #expect(try layout.word(entry + 4, told: told) == environment + 8)
    #expect(try layout.text(UInt64(environment), told: told) == "A=1\nB=2\n")
    #expect(environment % 4096 == 0)
  }

  @Test func nothingToldReachesBeyondItsPlace() throws {
    let files = [
      (BootedImageTests.multiboot().bytes, BootInformation.multiboot),
      (BootedImageTests.pvhFile.bytes, BootInformation.pvh),
    ]
    for (bytes, room) in files {
      let layout = try Self.image(bytes).layout(memoryBytes: 4 * mib, vcpus: 1)
      let places = [layout.arguments.commandLine, layout.arguments.environment].compactMap { $0 }
      let end = room.upperBound - 0x1000
      for place in places { #expect(place.address + UInt64(place.capacity) < end) }
      for (place, next) in zip(places, places.dropFirst()) {
        #expect(place.address + UInt64(place.capacity) < next.address)
      }
    }
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    var bytes: [UInt8]
    var memory = 4 * mib
    var vcpus = 1
    var initramfs: ImagePart?
    var error: GuestLayoutError
    var testDescription: String { error.description }
  }

  private static func elf(at address: UInt64, bytes: UInt64 = 64) -> [UInt8] {
    BootedImageTests.elf(.init(flags: 4, virtualAddress: address, bytes: [1], memoryBytes: bytes)).bytes
  }

  private static func multiboot(at address: UInt64, bytes: UInt64 = 64) -> [UInt8] {
    var file = BootedImageTests.multiboot()
    file.segments.append(.init(flags: 4, virtualAddress: address, bytes: [1], memoryBytes: bytes))
    return file.bytes
  }

  static let refusals = [
    Refusal(
      bytes: BootedImageTests.elf().bytes, memory: mib - 1,
      error: .memoryTooSmall(memoryBytes: mib - 1, needed: MinimumMemory(kernelBytes: 0x30_2000))),
    Refusal(
      bytes: BootedImageTests.multiboot().bytes, memory: 0,
      error: .memoryTooSmall(memoryBytes: 0, needed: MinimumMemory(kernelBytes: 0x30_2000))),
    Refusal(bytes: BootedImageTests.elf().bytes, vcpus: 9, error: .vcpuCount(9, limit: 8)),
    Refusal(bytes: BootedImageTests.pvhFile.bytes, vcpus: .min, error: .vcpuCount(.min, limit: 64)),
    Refusal(bytes: BootedImageTests.multiboot().bytes, vcpus: .max, error: .vcpuCount(.max, limit: 64)),
    Refusal(
      bytes: elf(at: 4 * mib - 63),
      error: .memoryTooSmall(memoryBytes: 4 * mib, needed: MinimumMemory(kernelBytes: 4 * mib + 1))),
    Refusal(
      bytes: elf(at: 1 << 62, bytes: 1 << 62), memory: .max,
      error: .placement(.segmentBeyondReach(2, address: 1 << 62, bytes: 1 << 62, reach: 1 << 30))),
    Refusal(
      bytes: elf(at: 0xFFFF),
      error: .placement(.segmentReserved(2, address: 0xFFFF, bytes: 64, reserved: 0..<0x1_0000))),
    Refusal(
      bytes: elf(at: 0), error: .placement(.segmentReserved(2, address: 0, bytes: 64, reserved: 0..<0x1_0000))),
    Refusal(
      bytes: multiboot(at: 0xFFFF),
      error: .placement(.segmentReserved(2, address: 0xFFFF, bytes: 64, reserved: 0x9000..<0x1_0000))),
    Refusal(
      bytes: multiboot(at: 0xF_FFFF),
      error: .placement(.segmentReserved(2, address: 0xF_FFFF, bytes: 64, reserved: 0xE_0000..<0x10_0000))),
    Refusal(
      bytes: multiboot(at: 0, bytes: 0x9001),
      error: .placement(.segmentReserved(2, address: 0, bytes: 0x9001, reserved: 0x9000..<0x1_0000))),
    Refusal(
      bytes: multiboot(at: 0xFFFF_FFFF, bytes: 1), memory: .max,
      error: .placement(.segmentBeyondReach(2, address: 0xFFFF_FFFF, bytes: 1, reach: 0xC000_0000))),
    Refusal(
      bytes: BootedImageTests.addressed(bssEnd: 0x40_0001),
      error: .memoryTooSmall(memoryBytes: 4 * mib, needed: MinimumMemory(kernelBytes: 4 * mib + 1))),
    Refusal(
      bytes: BootedImageTests.pvhFile.bytes, memory: 3 * mib + 0x3000, initramfs: BootedImageTests.initramfs,
      error: .memoryTooSmall(
        memoryBytes: 3 * mib + 0x3000, needed: MinimumMemory(kernelBytes: 0x30_2000, moduleBytes: 0x2000))),
    Refusal(
      bytes: BootedImageTests.multiboot().bytes, memory: 3 * mib + 0x2000,
      initramfs: ImagePart([UInt8](repeating: 0, count: Int(4 * mib))),
      error: .memoryTooSmall(
        memoryBytes: 3 * mib + 0x2000, needed: MinimumMemory(kernelBytes: 0x30_2000, moduleBytes: 4 * mib))),
  ]

  @Test(arguments: refusals) func refusesByName(row: Refusal) throws {
    let image = try Self.image(row.bytes, initramfs: row.initramfs)
    #expect(throws: row.error) { try image.layout(memoryBytes: row.memory, vcpus: row.vcpus) }
  }

  @Test func anInitramfsEndsWhereMemoryDoes() throws {
    let image = try Self.image(BootedImageTests.pvhFile.bytes, initramfs: BootedImageTests.initramfs)
    let layout = try image.layout(memoryBytes: 3 * mib + 0x4000, vcpus: 1)
    try expectSound(layout, memoryBytes: 3 * mib + 0x4000, vcpus: 1)
    #expect(layout.segments.last?.address == 3 * mib + 0x2000)
  }

  /// Files that are right but for a few bytes: refused, or laid out soundly, and never the end of the process.
  @Test func damagedFilesAreRefusedOrLaidOutSoundly() throws {
    var generator = SeededGenerator(for: "damagedFilesAreRefusedOrLaidOutSoundly")
    let files = [
      BootedImageTests.elf().bytes, BootedImageTests.pvhFile.bytes, BootedImageTests.multiboot().bytes,
      BootedImageTests.addressed(),
    ]
    let values: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF]
    var laidOut = 0
    for _ in 0..<10_000 {
      var bytes = files[Int.random(in: 0..<files.count, using: &generator)]
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        // Most of what is looked at is in the first bytes; runs of equal bytes make large numbers.
        let start = Int.random(in: 0..<min(bytes.count, 300), using: &generator)
        let value =
          Bool.random(using: &generator)
          ? UInt8.random(in: 0 ... .max, using: &generator) : values[Int.random(in: 0..<5, using: &generator)]
        for index in start..<min(start + Int.random(in: 1...8, using: &generator), bytes.count) { bytes[index] = value }
      }
      if Int.random(in: 0..<8, using: &generator) == 0 {
        bytes.removeLast(Int.random(in: 0...bytes.count, using: &generator))
      }
      let memory = [0, mib, 4 * mib, 1 << 30, .max][Int.random(in: 0..<5, using: &generator)] as UInt64
      let vcpus = Int.random(in: 0...9, using: &generator)
      let kind = [nil, .elf, .multiboot][Int.random(in: 0..<3, using: &generator)] as GuestKind?
      let parts = ImageParts(main: ImagePart(bytes))
      guard
        let image = try? GuestImage(name: "image", parts, kind: kind),
        let layout = try? image.layout(memoryBytes: memory, vcpus: vcpus)
      else { continue }
      try expectSound(layout, memoryBytes: memory, vcpus: vcpus)
      laidOut += 1
    }
    // So that both happen.
    #expect(laidOut > 100 && laidOut < 9_900)
  }
}

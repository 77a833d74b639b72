import TestSupport
import Testing

@testable import GuestImages

private let mib: UInt64 = 1 << 20

extension GuestLayout {
  /// Memory as it is after loading, from `address` on.
  fileprivate func memory(at address: UInt64, count: Int) throws -> [UInt8] {
    var memory = [UInt8](repeating: 0, count: count)
    for segment in segments {
      for (index, byte) in try segment.bytes().enumerated() {
        let place = segment.address + UInt64(index)
        if place >= address, place - address < UInt64(count) { memory[Int(place - address)] = byte }
      }
    }
    return memory
  }

  fileprivate func number<Number: FixedWidthInteger & UnsignedInteger>(
    _ type: Number.Type, at address: UInt64
  ) throws -> Number {
    try #require(try memory(at: address, count: Number.bitWidth / 8).littleEndian(type, at: 0))
  }
}

struct LinuxImageTests {
  @Test func isRecognisedAndDescribesItself() throws {
    let image = try LinuxBuilder().image(initramfs: ImagePart(LinuxBuilder.initramfs(3)))
    let description = image.description
    #expect(description.kind == .linux && description.maxVCPUs == 64 && description.ring == 0)
    #expect(description.sizeBytes == UInt64(LinuxBuilder().bytes.count) + 3)
    #expect(description.entry == 0x10_0200)
    #expect(description.notes == ["format": "bzImage", "boot_protocol": "2.15", "version": "6.1.0-test"])
    #expect(
      description.segments == [.init(address: 0x10_0000, fileBytes: 0x400, memoryBytes: 0x20_0000, access: "rwx")])
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    var kernel: LinuxBuilder
    var error: ImageError
    var testDescription: String { error.description }
  }

  static let refusals = [
    Refusal(kernel: LinuxBuilder(version: 0x20B), error: .linux(.protocolVersion(0x20B))),
    Refusal(kernel: LinuxBuilder(extendedFlags: 0xFFFE), error: .linux(.no64BitEntry)),
    Refusal(kernel: LinuxBuilder(loadFlags: 0xFE), error: .linux(.loadedLow)),
    Refusal(
      kernel: LinuxBuilder(headerEnd: 0x263), error: .linux(.malformed(field: "setup header's end", value: 0x263))),
    Refusal(
      kernel: LinuxBuilder(headerEnd: 0x291), error: .linux(.malformed(field: "setup header's end", value: 0x291))),
    Refusal(kernel: LinuxBuilder(units: 0x20), error: .linux(.malformed(field: "syssize", value: 0x20))),
    Refusal(
      kernel: LinuxBuilder(units: .max), error: .linux(.truncated(needed: 0xF_FFFF_FFF0 + 1024, count: 0x800))),
    Refusal(kernel: LinuxBuilder(units: 0x41), error: .linux(.truncated(needed: 0x810, count: 0x800))),
    Refusal(
      kernel: LinuxBuilder(preferredAddress: 0xF_FFFF),
      error: .linux(.malformed(field: "pref_address", value: 0xF_FFFF))),
    Refusal(
      kernel: LinuxBuilder(preferredAddress: .max), error: .linux(.malformed(field: "pref_address", value: .max))),
    Refusal(kernel: LinuxBuilder(magic: Array("HdrX".utf8)), error: .foreign(.diskImage)),
  ]

  @Test(arguments: refusals) func refuses(row: Refusal) throws {
    #expect(throws: row.error) { try row.kernel.image() }
    #expect(row.error.description.hasSuffix("."))
  }

  @Test func aKernelIsAllThatItIs() throws {
    let kernel = ImagePart(LinuxBuilder().bytes)
    #expect(throws: ImageError.unusedPart("block device", .linux)) {
      try GuestImage(name: "x", ImageParts(main: kernel, blocks: ["disk": kernel]))
    }
    #expect(throws: ImageError.notOfKind(.linux)) {
      try GuestImage(name: "x", ImageParts(main: ImagePart([0x90])), kind: .linux)
    }
    #expect(throws: ImageError.notOfKind(.solo5)) { try LinuxBuilder().image(kind: .solo5) }
    #expect(try LinuxBuilder().image(kind: .linux).description.kind == .linux)
  }

  /// What the 64-bit entry is promised by boot.rst.
  @Test(arguments: [1, 2, 8]) func layout(vcpus: Int) throws {
    let initramfs = LinuxBuilder.initramfs(5000)
    let layout = try LinuxBuilder().image(initramfs: ImagePart(initramfs), commandLine: "quiet")
      .layout(memoryBytes: 64 * mib, vcpus: vcpus)
    #expect(layout.platform == .pc)
    #expect(layout.starts.count == vcpus && layout.starts.dropFirst().allSatisfy { $0 == nil })
    let start = try #require(layout.starts[0])
    #expect(start.mode == .long64 && start.ring == 0 && start.entry == 0x10_0200 && start.ioPrivilegeLevel == 0)
    #expect(start.codeSelector == 0x10 && start.dataSelector == 0x18)
    let table = try layout.memory(at: start.descriptorTable, count: Int(start.descriptorTableLimit) + 1)
    #expect(table.littleEndian(UInt64.self, at: 0x10) == 0x00AF_9B00_0000_FFFF)
    #expect(table.littleEndian(UInt64.self, at: 0x18) == 0x00CF_9300_0000_FFFF)

    let zeroPage = start.rsi
    #expect(try layout.memory(at: zeroPage + 0x202, count: 4) == Array("HdrS".utf8))
    #expect(try layout.number(UInt8.self, at: zeroPage + 0x210) == 0xFF)
    let text = try layout.number(UInt32.self, at: zeroPage + 0x228)
    #expect(try layout.memory(at: UInt64(text), count: 6) == Array("quiet\0".utf8))
    #expect(layout.arguments.commandLine?.address == UInt64(text) && layout.arguments.commandLine?.capacity == 2047)
    let place = UInt64(try layout.number(UInt32.self, at: zeroPage + 0x218))
    #expect(place == 64 * mib - 8192)
    #expect(try layout.number(UInt32.self, at: zeroPage + 0x21C) == 5000)
    #expect(try layout.memory(at: place, count: 5000) == initramfs)
    #expect(try layout.memory(at: 0x10_0000, count: 0x400) == LinuxBuilder().code)

    let ranges = try (0..<4).map { index in
      let entry = zeroPage + 0x2D0 + 20 * UInt64(index)
      return [
        try layout.number(UInt64.self, at: entry), try layout.number(UInt64.self, at: entry + 8),
        UInt64(try layout.number(UInt32.self, at: entry + 16)),
      ]
    }
    #expect(try layout.number(UInt8.self, at: zeroPage + 0x1E8) == 4)
    #expect(ranges == [[0, 0x9_FC00, 1], [0x9_FC00, 0x400, 2], [0xE_0000, 0x2_0000, 2], [mib, 63 * mib, 1]])
    #expect(try layout.number(UInt64.self, at: zeroPage + 0x70) == 0xE_0000)
    expectAscendingAndDisjoint(layout, memoryBytes: 64 * mib)
  }

  private func expectAscendingAndDisjoint(_ layout: GuestLayout, memoryBytes: UInt64) {
    var end: UInt64 = 0
    for segment in layout.segments {
      #expect(segment.address >= end && segment.count > 0)
      end = segment.address + segment.count
    }
    #expect(end <= memoryBytes)
  }

  @Test func needsTheMemoryThatItsHeaderSays() throws {
    let image = try LinuxBuilder().image(initramfs: ImagePart(LinuxBuilder.initramfs(4096)))
    #expect(throws: GuestLayoutError.self) { try image.layout(memoryBytes: 3 * mib - 4096, vcpus: 1) }
    let needed = MinimumMemory(kernelBytes: 3 * mib, moduleBytes: 4096)
    #expect(image.minimumMemory == needed)
    #expect(throws: GuestLayoutError.memoryTooSmall(memoryBytes: 3 * mib, needed: needed)) {
      try image.layout(memoryBytes: 3 * mib, vcpus: 1)
    }
    expectAscendingAndDisjoint(
      try image.layout(memoryBytes: 3 * mib + 4096, vcpus: 1), memoryBytes: 3 * mib + 4096)
    let low = try LinuxBuilder(initramfsLimit: 0x3F_FFFF).image(initramfs: ImagePart(LinuxBuilder.initramfs(2)))
      .layout(memoryBytes: 64 * mib, vcpus: 1)
    #expect(low.segments.last?.address == 0x3F_F000)
    for vcpus in [0, 65, .min, .max] {
      #expect(throws: GuestLayoutError.vcpuCount(vcpus, limit: 64)) {
        try image.layout(memoryBytes: 64 * mib, vcpus: vcpus)
      }
    }
  }

  @Test func hasACommandLineOfItsOwnUnlessItIsGivenOne() throws {
    let layout = try LinuxBuilder().image().layout(memoryBytes: 64 * mib, vcpus: 1)
    #expect(try layout.memory(at: 0x2_0000, count: 22) == Array("console=ttyS0 panic=-1".utf8))
    let long = String(repeating: "x", count: 2048)
    #expect(throws: ImageError.commandLine(.tooLong(what: "command line", bytes: 2048, limit: 2047))) {
      try LinuxBuilder().image(commandLine: long)
    }
    let longest = try LinuxBuilder().image(commandLine: String(long.dropLast()))
    #expect(throws: Never.self) { try longest.layout(memoryBytes: 64 * mib, vcpus: 1) }
  }

  @Test func aVmlinuxIsOneWhereItSaysSoOrSomebodyInsists() throws {
    var builder = ELFBuilder(
      entry: 0x100_0000,
      segments: [
        .init(flags: 5, virtualAddress: 0xFFFF_FFFF_8100_0000, physicalAddress: 0x100_0000, bytes: [0x90, 0xF4]),
        .init(
          flags: 7, virtualAddress: 0xFFFF_FFFF_8120_0000, physicalAddress: 0x120_0000, bytes: [1], memoryBytes: 0x3000),
      ])
    let image = try GuestImage(
      name: "linux", ImageParts(main: builder.part, initramfs: ImagePart(LinuxBuilder.initramfs(2))), kind: .linux)
    #expect(image.description.kind == .linux && image.description.notes == ["format": "vmlinux"])
    #expect(try GuestImage(name: "linux", ImageParts(main: builder.part)).description.kind == .elf)
    let layout = try image.layout(memoryBytes: 64 * mib, vcpus: 2)
    let start = try #require(layout.starts[0])
    #expect(start.entry == 0x100_0000 && start.mode == .long64)
    #expect(try layout.memory(at: 0x100_0000, count: 2) == [0x90, 0xF4])
    #expect(try layout.memory(at: start.rsi + 0x202, count: 6) == Array("HdrS".utf8) + [0x0F, 0x02])
    #expect(try layout.number(UInt32.self, at: start.rsi + 0x218) == UInt32(64 * mib - 4096))
    expectAscendingAndDisjoint(layout, memoryBytes: 64 * mib)
    builder.segments.append(
      .init(type: ELFFile.Segment.note, virtualAddress: 0, bytes: ELFBuilder.note("Linux", 0x100, [0x36, 0])))
    #expect(
      try GuestImage(name: "linux", ImageParts(main: builder.part)).description.notes == ["format": "vmlinux"])
  }

  /// Damaged headers are refused or laid out soundly: nothing traps.
  @Test func damageIsRefusedOrHarmless() throws {
    var generator = SeededGenerator(for: "damaged bzImages")
    let sound = LinuxBuilder().bytes
    for _ in 0..<5000 {
      var bytes = sound
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        bytes[Int.random(in: 0x1F1..<0x270, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      if Bool.random(using: &generator) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
      let parts = ImageParts(main: ImagePart(bytes), initramfs: ImagePart(LinuxBuilder.initramfs(3)))
      guard let image = try? GuestImage(name: "x", parts, kind: .linux) else { continue }
      let memory = UInt64.random(in: 0...(1 << 30), using: &generator)
      guard let layout = try? image.layout(memoryBytes: memory, vcpus: 8) else { continue }
      expectAscendingAndDisjoint(layout, memoryBytes: memory)
      for segment in layout.segments { _ = try segment.bytes() }
    }
  }
}

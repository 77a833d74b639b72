import GuestMemory
import Processor

/// A Solo5 unikernel for the hvt tender, ABI version 2: one vCPU, in ring 0 of 64-bit mode.
///
/// Source: Solo5's include/hvt_abi.h and elf_abi.h for the notes and the boot information; its tenders/hvt for where
/// things are in memory and for the registers.
struct Solo5Image: Sendable, Equatable {
  private static let owner = "Solo5"
  private static let interfaceType: UInt32 = 0x3149_4241  // "ABI1"
  private static let manifestType: UInt32 = 0x3154_464D  // "MFT1"
  /// The manifest is aligned to 8 bytes, and the note's header of 20 is in front of it.
  private static let manifestPadding = 4
  private static let hvt: UInt32 = 1
  private static let otherTargets: [UInt32: String] = [2: "spt", 3: "virtio", 4: "muen", 5: "genode", 6: "xen"]
  private static let interfaceVersion: UInt32 = 2

  private static let descriptorTable: UInt64 = 0x1000
  private static let bootInformation = Solo5PageTables.mappedStart
  private static let bootInformationBytes: UInt64 = 64
  private static let frequencyOffset: UInt64 = 16
  /// Bytes of the command line, with the NUL at its end (HVT_CMDLINE_SIZE).
  private static let commandLineBytes = 8192
  private static let addressLimit = PCMemoryMap.holeStart

  /// What a unikernel wants for its heap and its stack at least.
  private static let freeBytes: UInt64 = 512 << 10

  private let part: ImagePart
  private let sizeBytes: UInt64
  private let loaded: [ELFFile.Segment]
  private let entry: UInt64
  private let manifest: Solo5Manifest
  /// What its block devices hold, by their handles.
  private let blocks: [UInt64: ImagePart]
  private let commandLine: [UInt8]

  /// Nil where the parts are no Solo5 unikernel at all.
  init?(_ parts: ImageParts) throws(ImageError) {
    let file: ELFFile
    let notes: [ELFFile.Note]
    do throws(ELFDefect) {
      guard let found = try ELFFile(parts.main) else { return nil }
      file = found
      notes = try found.notes().filter { $0.owner == Self.owner }
    } catch { throw .elf(error) }
    guard let interface = notes.first(where: { $0.type == Self.interfaceType }) else { return nil }
    guard parts.initramfs == nil else { throw .unusedPart("initramfs", .solo5) }
    guard parts.modules.isEmpty else { throw .unusedPart("module", .solo5) }
    guard parts.flat == nil else { throw .unusedPart("mode", .solo5) }
    do throws(Solo5Error) {
      try Self.checkInterface(interface.descriptor)
      guard file.is64Bit, file.machine == ELFFile.x86_64, file.type == ELFFile.executable else { throw .notExecutable }
      guard let note = notes.first(where: { $0.type == Self.manifestType }) else { throw .noManifest }
      guard note.descriptor.count >= Self.manifestPadding else { throw .manifestSize(bytes: note.descriptor.count) }
      manifest = try Solo5Manifest(Array(note.descriptor.dropFirst(Self.manifestPadding)))
      blocks = try Self.attach(parts.blocks, to: manifest)
      commandLine = try Self.checked(parts.commandLine ?? "")
    } catch { throw .solo5(error) }
    do throws(ELFDefect) {
      loaded = try file.loaded()
      entry = try file.physicalEntry(in: loaded)
    } catch { throw .elf(error) }
    do throws(Solo5Error) {
      try Self.checkPlaces(loaded)
    } catch { throw .solo5(error) }
    part = file.part
    sizeBytes = parts.sizeBytes
  }

  private static func checkInterface(_ note: [UInt8]) throws(Solo5Error) {
    guard
      note.count == 16, let target = note.littleEndian(UInt32.self, at: 0),
      let version = note.littleEndian(UInt32.self, at: 4)
    else { throw .interfaceNote(bytes: note.count) }
    guard target == hvt else { throw .foreignTarget(otherTargets[target] ?? "the unknown target \(target)") }
    guard version == interfaceVersion else { throw .interfaceVersion(version) }
  }

  private static func attach(
    _ blocks: [String: ImagePart], to manifest: Solo5Manifest
  ) throws(Solo5Error) -> [UInt64: ImagePart] {
    var attached: [UInt64: ImagePart] = [:]
    for device in manifest.devices {
      guard !device.isNetwork else { throw .networkDevice(device.name) }
      guard let block = blocks[device.name] else { throw .blockMissing(device.name) }
      guard block.count > 0, block.count % Solo5Manifest.blockBytes == 0 else {
        throw .blockSize(device.name, bytes: block.count)
      }
      attached[device.handle] = block
    }
    let known = Set(manifest.devices.map(\.name))
    if let other = blocks.keys.sorted().first(where: { !known.contains($0) }) { throw .blockUnknown(other) }
    return attached
  }

  private static func checked(_ commandLine: String) throws(Solo5Error) -> [UInt8] {
    let bytes = Array(commandLine.utf8)
    guard bytes.count < commandLineBytes else { throw .commandLineLength(bytes.count, limit: commandLineBytes - 1) }
    guard !bytes.contains(0) else { throw .commandLineNUL }
    return bytes
  }

  private static func checkPlaces(_ loaded: [ELFFile.Segment]) throws(Solo5Error) {
    for segment in loaded {
      guard segment.virtualAddress == segment.physicalAddress else { throw .segmentMoved(segment.number) }
      guard segment.virtualAddress >= Solo5PageTables.guestStart else {
        throw .segmentTooLow(segment.number, segment.virtualAddress)
      }
      guard segment.virtualAddress + segment.memoryBytes <= addressLimit else { throw .segmentTooHigh(segment.number) }
      guard !(segment.isWritable && segment.isExecutable) else { throw .writableCode(segment.number) }
    }
    for (below, above) in zip(loaded, loaded.dropFirst()) {
      let ends = Solo5PageTables.Span(below).pages.upperBound
      guard ends <= Solo5PageTables.Span(above).pages.lowerBound else {
        throw .segmentsSharePage(below.number, above.number)
      }
    }
    try Solo5PageTables.check(loaded.map(Solo5PageTables.Span.init))
  }

  /// Its description for clients.
  var description: ImageDescription {
    var notes = ["abi": "hvt version \(Self.interfaceVersion)"]
    if !manifest.devices.isEmpty {
      notes["block_devices"] = manifest.devices.map(\.name).joined(separator: " ")
    }
    return ImageDescription(
      kind: .solo5, sizeBytes: sizeBytes, maxVCPUs: 1, ring: 0, entry: entry,
      segments: loaded.map { segment in
        .init(
          address: segment.virtualAddress, fileBytes: segment.fileBytes, memoryBytes: segment.memoryBytes,
          access: segment.access)
      },
      notes: notes)
  }

  private var programEnd: UInt64 { loaded.map { Solo5PageTables.Span($0).pages.upperBound }.max() ?? 0 }

  /// The least memory that it fits into, in whole pieces of 2 MiB.
  var minimumMemory: MinimumMemory {
    let unit = Solo5PageTables.largePageBytes
    return MinimumMemory(kernelBytes: (programEnd + Self.freeBytes + unit - 1) / unit * unit)
  }

  /// What a VM of it has behind its hypercalls.
  var platform: Solo5Platform {
    Solo5Platform(blocks: blocks, frequencyAddress: Self.bootInformation + Self.frequencyOffset)
  }

  /// Lays it out.
  func layout(memoryBytes: UInt64, vcpus: Int) throws(GuestLayoutError) -> GuestLayout {
    guard vcpus == 1 else { throw .vcpuCount(vcpus, limit: 1) }
    let unit = Solo5PageTables.largePageBytes
    let memory = min(memoryBytes / unit * unit, Self.addressLimit)
    try minimumMemory.check(memoryBytes)
    let manifestAddress = Self.bootInformation + Self.bootInformationBytes
    let attached = manifest.attached(blocks.mapValues(\.count))
    let text = ArgumentPlaces.Text(
      address: manifestAddress + UInt64(attached.count), capacity: Self.commandLineBytes - 1)
    var segments = [Self.descriptors]
    segments += Solo5PageTables.segments(loaded.map(Solo5PageTables.Span.init), memoryBytes: memory)
    // The frequency is filled in by who makes the VM; what follows the addresses is for the network, and 0.
    let words = [memory, programEnd, 0, text.address, manifestAddress, 0, 0, 0]
    segments.append(
      GuestSegment(
        address: Self.bootInformation, bytes: words.flatMap { [UInt8](littleEndian: $0) } + attached))
    segments.append(GuestSegment(address: text.address, bytes: commandLine + [0]))
    segments += loaded.filter { $0.fileBytes > 0 }.map { segment in
      GuestSegment(address: segment.virtualAddress, part: part, offset: segment.offset, count: segment.fileBytes)
    }
    return GuestLayout(
      segments: segments, starts: [start(stackPointer: memory - 8)],
      platform: .solo5(platform),
      arguments: ArgumentPlaces(commandLine: text))
  }

  /// The null descriptor, then code to execute only, then data.
  private static let descriptors = GuestSegment(
    address: descriptorTable,
    bytes: [0, 0x00AF_9900_0000_FFFF, 0x00CF_9300_0000_FFFF].flatMap { [UInt8](littleEndian: UInt64($0)) })

  private func start(stackPointer: UInt64) -> CPUStart {
    var start = CPUStart(
      mode: .long64, ring: 0, entry: entry, codeSegmentBase: 0, stackPointer: stackPointer,
      pageTableRoot: Solo5PageTables.root, firstArgument: Self.bootInformation, ioPrivilegeLevel: 0)
    start.descriptorTable = Self.descriptorTable
    start.descriptorTableLimit = 23
    return start
  }
}

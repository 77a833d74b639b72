import GuestMemory

/// What a PC's firmware leaves in memory: the BIOS data area, the MP tables and the ACPI tables. Computed from the
/// attachments of a platform, so that the guest finds what is there and nothing else.
public enum PCFirmware {
  /// Bytes and the guest-physical address that they belong at.
  public struct Piece: Sendable, Equatable {
    /// The guest-physical address of the first byte.
    public let address: UInt64
    /// The bytes.
    public let bytes: [UInt8]
  }

  /// All of it, for a VM with `attachments` and `vcpus` vCPUs; by ascending address, disjoint.
  public static func pieces(attachments: [DeviceAttachment], vcpus: Int) -> [Piece] {
    var memory = TableArea(address: PCMemoryMap.tables.lowerBound)
    ACPITables(attachments: attachments, vcpus: vcpus).append(to: &memory)
    let configuration = memory.append(MPTables.configuration(vcpus: vcpus), alignment: 16)
    return [
      Piece(address: PCMemoryMap.biosData, bytes: BIOSData.bytes(attachments: attachments)),
      Piece(address: PCMemoryMap.lowMemoryEnd, bytes: MPTables.pointer(to: configuration)),
      Piece(address: memory.address, bytes: memory.bytes),
    ]
  }
}

/// Tables one after another.
struct TableArea {
  let address: UInt64
  private(set) var bytes: [UInt8] = []

  init(address: UInt64) { self.address = address }

  /// Appends a table at the next multiple of `alignment`.
  /// - Returns: its guest-physical address.
  mutating func append(_ table: [UInt8], alignment: Int) -> UInt64 {
    bytes += [UInt8](repeating: 0, count: (alignment - bytes.count % alignment) % alignment)
    defer { bytes += table }
    return address + UInt64(bytes.count)
  }

  /// Puts `table` at `offset`, where room was left for it.
  mutating func put(_ table: [UInt8], at offset: Int) {
    bytes.replaceSubrange(offset..<offset + table.count, with: table)
  }
}

/// The BIOS data area, as far as a boot loader or a kernel reads it without calling the BIOS.
///
/// Source: IBM PC/AT Technical Reference, "BIOS data area".
enum BIOSData {
  /// Memory below 1 MiB in KiB, without the extended BIOS data area.
  static let baseMemoryKiB = PCMemoryMap.lowMemoryEnd >> 10

  private enum Offset { static let com1 = 0x00, extendedSegment = 0x0E, equipment = 0x10, memoryKiB = 0x13 }
  private static let size = 0x16
  /// One serial port, a coprocessor, and no display that the BIOS would drive.
  private static let equipment: UInt16 = 1 << 9 | 1 << 1

  static func bytes(attachments: [DeviceAttachment]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: size)
    func put(_ word: UInt16, at offset: Int) {
      bytes.replaceSubrange(offset..<offset + 2, with: word.littleEndianBytes)
    }
    for case .ports(let port, _) in attachments.filter({ $0.name == "com1" }).map(\.place) {
      put(port, at: Offset.com1)
    }
    put(UInt16(PCMemoryMap.lowMemoryEnd >> 4), at: Offset.extendedSegment)
    put(equipment, at: Offset.equipment)
    put(UInt16(baseMemoryKiB), at: Offset.memoryKiB)
    return bytes
  }
}

/// The tables of the MultiProcessor Specification 1.4: for kernels that do not read ACPI tables.
enum MPTables {
  private enum Entry: UInt8 { case processor = 0, bus, ioAPIC, interrupt, localInterrupt }
  private static let localAPICVersion: UInt8 = 0x14
  private static let ioAPICVersion: UInt8 = 0x11
  /// Maskable, NMI, and from the 8259.
  private enum Kind { static let interrupt: UInt8 = 0, nmi: UInt8 = 1, external: UInt8 = 3 }
  private static let allAPICs: UInt8 = 0xFF
  /// The timer of IBM's PC (interrupt 0) is on pin 2; the pin of the cascade is free.
  private static let timerPin: UInt8 = 2

  /// The floating pointer structure, which kernels search for in the extended BIOS data area.
  static func pointer(to configuration: UInt64) -> [UInt8] {
    var bytes = Array("_MP_".utf8) + UInt32(truncatingIfNeeded: configuration).littleEndianBytes + [1, 4, 0]
    bytes += [0, 0, 0, 0, 0]
    bytes[10] = checksum(bytes)
    return bytes
  }

  /// The configuration table, for `vcpus` processors.
  static func configuration(vcpus: Int) -> [UInt8] {
    let ioAPIC = UInt8(truncatingIfNeeded: vcpus)
    var entries: [[UInt8]] = (0..<vcpus).map { processor(UInt8(truncatingIfNeeded: $0)) }
    entries.append([Entry.bus.rawValue, 0] + Array("ISA   ".utf8))
    entries.append([Entry.ioAPIC.rawValue, ioAPIC, ioAPICVersion, 1] + InterruptMap.ioAPICAddress.littleEndianBytes)
    for interrupt: UInt8 in 0..<16 where interrupt != timerPin {
      let pin = interrupt == 0 ? timerPin : interrupt
      entries.append([Entry.interrupt.rawValue, Kind.interrupt, 0, 0, 0, interrupt, ioAPIC, pin])
    }
    entries.append([Entry.localInterrupt.rawValue, Kind.external, 0, 0, 0, 0, allAPICs, 0])
    entries.append([Entry.localInterrupt.rawValue, Kind.nmi, 0, 0, 0, 0, allAPICs, 1])
    let body = entries.flatMap { $0 }
    let header = 44
    var table = Array("PCMP".utf8) + UInt16(header + body.count).littleEndianBytes + [4, 0]
    table += Array("VMPOOL  VMPOOL PC   ".utf8) + [UInt8](repeating: 0, count: 6)
    table += UInt16(entries.count).littleEndianBytes + InterruptMap.localAPICAddress.littleEndianBytes
    table += [0, 0, 0, 0] + body
    table[7] = checksum(table)
    return table
  }

  private static func processor(_ id: UInt8) -> [UInt8] {
    let enabled: UInt8 = 1 << 0
    let boots: UInt8 = id == 0 ? 1 << 1 : 0
    // Family 6, as every 64-bit processor says it is or may be taken for; FPU, CX8 and APIC.
    let signature: UInt32 = 0x600
    let features: UInt32 = 1 << 0 | 1 << 8 | 1 << 9
    return [Entry.processor.rawValue, id, localAPICVersion, enabled | boots] + signature.littleEndianBytes
      + features.littleEndianBytes + [UInt8](repeating: 0, count: 8)
  }
}

/// Where the kernel's interrupt controllers are.
enum InterruptMap {
  static let localAPICAddress: UInt32 = 0xFEE0_0000
  static let ioAPICAddress: UInt32 = 0xFEC0_0000
}

/// The byte that makes the sum of all 0.
func checksum(_ bytes: some Sequence<UInt8>) -> UInt8 { 0 &- bytes.reduce(0, &+) }

extension FixedWidthInteger {
  /// The bytes, the lowest first.
  var littleEndianBytes: [UInt8] { (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: self >> Self(8 * $0)) } }
}

/// The ACPI tables of `Platform.pc`: how many processors there are, where the interrupt controllers are, and how the
/// machine is powered off and reset. Without them a kernel that has no MP table support (Debian's) finds one processor.
///
/// Full ACPI hardware, not the hardware-reduced kind: Linux takes the latter for a machine without the legacy interrupt
/// controller and interval timer, which this machine has. Reduced to what a guest needs: a power management block
/// without events, no keyboard controller and no real-time clock to be looked for (the time is KVM's), no devices.
///
/// Source: ACPI specification 6.4, chapters 4.8 (fixed hardware), 5.2 (tables) and 20 (AML).
enum ACPITables {
  /// Where the root pointer is; the tables follow it. Firmware's read-only area, which is searched for it.
  static let address: UInt64 = 0xE_0000

  private static let rootPlace = 0x40
  private static let fixedPlace = 0x80
  private static let controlPlace = 0x1C0
  private static let definitionPlace = 0x200
  private static let interruptPlace = 0x240

  /// All of them, for a machine with `vcpus` processors.
  static func segment(vcpus: Int) -> GuestSegment {
    var memory = rootPointer()
    append(rootTable(), at: rootPlace, to: &memory)
    append(fixedDescription(), at: fixedPlace, to: &memory)
    append(firmwareControl(), at: controlPlace, to: &memory)
    append(definitionBlock(), at: definitionPlace, to: &memory)
    append(interruptDescription(vcpus: vcpus), at: interruptPlace, to: &memory)
    return GuestSegment(address: address, bytes: memory)
  }

  private static func append(_ table: [UInt8], at place: Int, to memory: inout [UInt8]) {
    memory += [UInt8](repeating: 0, count: place - memory.count) + table
  }

  private static func pointer(_ place: Int) -> UInt64 { address + UInt64(place) }

  /// The byte that makes the sum of all 0.
  private static func checksum(_ bytes: some Sequence<UInt8>) -> UInt8 { 0 &- bytes.reduce(0, &+) }

  /// A table: its header, and what follows.
  private static func table(_ signature: String, revision: UInt8, _ body: [UInt8]) -> [UInt8] {
    var table = Array(signature.utf8) + [UInt8](littleEndian: UInt32(36 + body.count)) + [revision, 0]
    table += Array("VMPOOLVMPOOLPC".utf8) + [UInt8](littleEndian: UInt32(1))
    table += Array("VMPL".utf8) + [UInt8](littleEndian: UInt32(1))
    table += body
    table[9] = checksum(table)
    return table
  }

  /// The root system description pointer, revision 2: the first 20 bytes have a checksum of their own.
  private static func rootPointer() -> [UInt8] {
    var pointer = Array("RSD PTR ".utf8) + [0] + Array("VMPOOL".utf8) + [2, 0, 0, 0, 0]
    pointer[8] = checksum(pointer)
    pointer += [UInt8](littleEndian: UInt32(36)) + [UInt8](littleEndian: Self.pointer(rootPlace)) + [0, 0, 0, 0]
    pointer[32] = checksum(pointer)
    return pointer
  }

  /// The extended system description table: where the others are.
  private static func rootTable() -> [UInt8] {
    table("XSDT", revision: 1, [fixedPlace, interruptPlace].flatMap { [UInt8](littleEndian: pointer($0)) })
  }

  /// The fixed ACPI description table, revision 6.
  private static func fixedDescription() -> [UInt8] {
    var body = [UInt8](repeating: 0, count: 276 - 36)
    /// `offset` is the specification's, from the table's beginning.
    func put<Number: FixedWidthInteger & UnsignedInteger>(_ number: Number, at offset: Int) {
      body.replaceSubrange(offset - 36..<offset - 36 + Number.bitWidth / 8, with: [UInt8](littleEndian: number))
    }
    /// A generic address structure that names I/O ports.
    func put(ports port: UInt64, bits: UInt8, at offset: Int) {
      put(1 as UInt8, at: offset)  // system I/O
      put(bits, at: offset + 1)
      put(bits == 8 ? 1 : 2 as UInt8, at: offset + 3)  // accessed as bytes or words
      put(port, at: offset + 4)
    }
    let events = PCPlatform.powerManagement
    put(UInt32(pointer(controlPlace)), at: 36)
    put(UInt32(pointer(definitionPlace)), at: 40)
    put(9 as UInt16, at: 46)  // the interrupt of ACPI events, of which there are none
    put(UInt32(events), at: 56)
    put(UInt32(events + 4), at: 64)
    put(4 as UInt8, at: 88)  // bytes of the event block
    put(2 as UInt8, at: 89)  // bytes of the control block
    put(0xFFFF as UInt16, at: 96)  // no C2 …
    put(0xFFFF as UInt16, at: 98)  // … and no C3 state
    // Architecture: devices on ports; no keyboard controller (bit 1); no VGA, no real-time clock.
    put(1 << 0 | 1 << 2 | 1 << 5 as UInt16, at: 109)
    // WBINVD works; C1 on all processors; no power and sleep buttons (bits 4 and 5), no alarm of the real-time clock in
    // fixed hardware; a reset register.
    put(1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 as UInt32, at: 112)
    put(ports: PCPlatform.resetControl, bits: 8, at: 116)
    put(0x06 as UInt8, at: 128)  // the value that resets
    put(4 as UInt8, at: 131)  // minor revision
    put(pointer(definitionPlace), at: 140)
    put(ports: events, bits: 32, at: 148)
    put(ports: events + 4, bits: 16, at: 172)
    return table("FACP", revision: 6, body)
  }

  /// The firmware ACPI control structure, without which kernels complain.
  private static func firmwareControl() -> [UInt8] {
    Array("FACS".utf8) + [UInt8](littleEndian: UInt32(64)) + [UInt8](repeating: 0, count: 24) + [2]
      + [UInt8](repeating: 0, count: 31)
  }

  /// The differentiated system description table: `Name (_S5, Package () {0, 0, 0, 0})`, which is how to power off: a 0
  /// as the sleep type. 8: name; 0x12: a package, 6 bytes from its length on, 4 elements, each the constant 0.
  private static func definitionBlock() -> [UInt8] {
    table("DSDT", revision: 2, [0x08] + Array("_S5_".utf8) + [0x12, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00])
  }

  /// The multiple APIC description table, revision 4. KVM's interval timer is on the I/O APIC's first pin, where a
  /// guest expects it that is not told otherwise.
  private static func interruptDescription(vcpus: Int) -> [UInt8] {
    var body = [UInt8](littleEndian: UInt32(0xFEE0_0000)) + [UInt8](littleEndian: UInt32(1))  // with two 8259
    for index in 0..<vcpus {
      body += [0, 8, UInt8(index), UInt8(index)] + [UInt8](littleEndian: UInt32(1))  // a processor, enabled
    }
    body += [1, 12, 0, 0] + [UInt8](littleEndian: UInt32(0xFEC0_0000)) + [UInt8](littleEndian: UInt32(0))  // I/O APIC
    body += [2, 10, 0, 9] + [UInt8](littleEndian: UInt32(9)) + [0x0D, 0]  // ACPI events: active high, level
    body += [4, 6, 0xFF, 0, 0, 1]  // NMI at LINT1 of all processors
    return table("APIC", revision: 4, body)
  }
}

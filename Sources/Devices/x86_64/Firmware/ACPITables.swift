/// The ACPI tables of a PC: its processors, its interrupt controllers, how a guest powers it off and resets it, and where the
/// devices are that have a hardware ID.
///
/// They describe full ACPI hardware, not the hardware-reduced kind: Linux takes the latter for a machine without the legacy
/// interrupt controller and interval timer, which this machine has. The power management block has no events.
///
/// Source: ACPI specification 6.4, chapters 4.8 (fixed hardware), 5.2 (tables) and 20 (AML).
struct ACPITables {
  let attachments: [DeviceAttachment]
  let vcpus: Int

  private static let rootPointerBytes = 36
  private static let headerBytes = 36
  private static let checksumOffset = 9

  /// Appends all of them. The root pointer comes first.
  func append(to memory: inout TableArea) {
    let root = memory.append([UInt8](repeating: 0, count: Self.rootPointerBytes), alignment: 16)
    let control = memory.append(Self.firmwareControl, alignment: 64)
    let definition = memory.append(definitionBlock, alignment: 16)
    let fixed = memory.append(Self.fixedDescription(control: control, definition: definition), alignment: 16)
    let interrupts = memory.append(interruptDescription, alignment: 16)
    let extended = Self.table("XSDT", revision: 1, [fixed, interrupts].flatMap(\.littleEndianBytes))
    let rootTable = memory.append(extended, alignment: 16)
    memory.put(Self.rootPointer(to: rootTable), at: Int(root - memory.address))
  }

  /// A table: its header, and `body`.
  private static func table(_ signature: String, revision: UInt8, _ body: [UInt8]) -> [UInt8] {
    var table = Array(signature.utf8) + UInt32(headerBytes + body.count).littleEndianBytes + [revision, 0]
    table += Array("VMPOOLVMPOOLPC".utf8) + UInt32(1).littleEndianBytes
    table += Array("VMPL".utf8) + UInt32(1).littleEndianBytes
    table += body
    table[checksumOffset] = checksum(table)
    return table
  }

  /// The root system description pointer, revision 2: the first 20 bytes have a checksum of their own.
  private static func rootPointer(to table: UInt64) -> [UInt8] {
    var pointer = Array("RSD PTR ".utf8) + [0] + Array("VMPOOL".utf8) + [2, 0, 0, 0, 0]
    pointer[8] = checksum(pointer)
    pointer += UInt32(rootPointerBytes).littleEndianBytes + table.littleEndianBytes + [0, 0, 0, 0]
    pointer[32] = checksum(pointer)
    return pointer
  }

  // MARK: Fixed hardware

  /// Offsets in the fixed ACPI description table, and the bits of its flags.
  private enum Fixed {
    static let size = 276
    static let firmwareControl = 36, definition = 40, interrupt = 46, eventBlock = 56, controlBlock = 64
    static let eventBytes = 88, controlBytes = 89, latencyC2 = 96, latencyC3 = 98, century = 108
    static let bootArchitecture = 109, flags = 112, resetRegister = 116, resetValue = 128, minorRevision = 131
    static let extendedDefinition = 140, extendedEventBlock = 148, extendedControlBlock = 172

    enum Architecture { static let legacyDevices: UInt16 = 1 << 0, noVGA: UInt16 = 1 << 2 }
    enum Flag {
      static let cacheFlush: UInt32 = 1 << 0, c1: UInt32 = 1 << 2, noPowerButton: UInt32 = 1 << 4
      static let noSleepButton: UInt32 = 1 << 5, noClockAlarm: UInt32 = 1 << 6, resets: UInt32 = 1 << 10
    }
    enum Access { static let byte: UInt8 = 1, word: UInt8 = 2 }
    static let systemIO: UInt8 = 1
    static let interruptNumber: UInt16 = 9
    static let noState: UInt16 = 0xFFFF
  }

  /// The fixed ACPI description table, revision 6. The keyboard controller is not announced: it has no keyboard. That the
  /// real-time clock exists is said by the bit that is not set (CMOS RTC Not Present).
  private static func fixedDescription(control: UInt64, definition: UInt64) -> [UInt8] {
    var body = [UInt8](repeating: 0, count: Fixed.size - headerBytes)
    func put(_ number: some FixedWidthInteger & UnsignedInteger, at offset: Int) {
      let bytes = number.littleEndianBytes
      body.replaceSubrange(offset - headerBytes..<offset - headerBytes + bytes.count, with: bytes)
    }
    /// A generic address structure that names I/O ports.
    func put(port: UInt16, bits: UInt8, at offset: Int) {
      put(Fixed.systemIO, at: offset)
      put(bits, at: offset + 1)
      put(bits == 8 ? Fixed.Access.byte : Fixed.Access.word, at: offset + 3)
      put(UInt64(port), at: offset + 4)
    }
    let events = PowerManagement.port
    let controlPort = events + PowerManagement.eventBytes
    put(UInt32(truncatingIfNeeded: control), at: Fixed.firmwareControl)
    put(UInt32(truncatingIfNeeded: definition), at: Fixed.definition)
    put(Fixed.interruptNumber, at: Fixed.interrupt)
    put(UInt32(events), at: Fixed.eventBlock)
    put(UInt32(controlPort), at: Fixed.controlBlock)
    put(UInt8(PowerManagement.eventBytes), at: Fixed.eventBytes)
    put(UInt8(PowerManagement.controlBytes), at: Fixed.controlBytes)
    put(Fixed.noState, at: Fixed.latencyC2)
    put(Fixed.noState, at: Fixed.latencyC3)
    put(RealTimeClock.centuryIndex, at: Fixed.century)
    put(Fixed.Architecture.legacyDevices | Fixed.Architecture.noVGA, at: Fixed.bootArchitecture)
    put(
      Fixed.Flag.cacheFlush | Fixed.Flag.c1 | Fixed.Flag.noPowerButton | Fixed.Flag.noSleepButton
        | Fixed.Flag.noClockAlarm | Fixed.Flag.resets, at: Fixed.flags)
    put(port: ResetControl.port, bits: 8, at: Fixed.resetRegister)
    put(ResetControl.resetValue, at: Fixed.resetValue)
    put(4 as UInt8, at: Fixed.minorRevision)
    put(definition, at: Fixed.extendedDefinition)
    put(port: events, bits: 8 * UInt8(PowerManagement.eventBytes), at: Fixed.extendedEventBlock)
    put(port: controlPort, bits: 8 * UInt8(PowerManagement.controlBytes), at: Fixed.extendedControlBlock)
    return table("FACP", revision: 6, body)
  }

  /// The firmware ACPI control structure, without which kernels complain: version 2, all else 0.
  private static let firmwareControl =
    Array("FACS".utf8) + UInt32(64).littleEndianBytes + [UInt8](repeating: 0, count: 24) + [2]
    + [UInt8](repeating: 0, count: 31)

  // MARK: Devices and interrupts

  /// The differentiated system description table: `Name (_S5, Package () {0, 0, 0, 0})`, which says how to power off, and a
  /// device for each attachment with a hardware ID.
  private var definitionBlock: [UInt8] {
    let described = attachments.filter { $0.acpiID != nil }
    let devices = described.enumerated().flatMap { number, attachment in AML.device(attachment, number: number) }
    let body = AML.name("_S5_", AML.package([UInt8](repeating: 0, count: 4)))
    return Self.table("DSDT", revision: 2, body + (devices.isEmpty ? [] : AML.scope("\\_SB_", devices)))
  }

  /// The kinds of entries in the multiple APIC description table.
  private enum Interrupts {
    static let processor: UInt8 = 0, ioAPIC: UInt8 = 1, sourceOverride: UInt8 = 2, localNMI: UInt8 = 4
    static let hasLegacyControllers: UInt32 = 1, enabled: UInt32 = 1
    static let activeHighLevel: UInt16 = 0x0D, asOnTheBus: UInt16 = 0
  }

  /// The multiple APIC description table, revision 4. The interval timer (interrupt 0) is on the I/O APIC's pin 2.
  private var interruptDescription: [UInt8] {
    func sourceOverride(_ interrupt: UInt8, pin: UInt32, flags: UInt16) -> [UInt8] {
      [Interrupts.sourceOverride, 10, 0, interrupt] + pin.littleEndianBytes + flags.littleEndianBytes
    }
    var body = InterruptMap.localAPICAddress.littleEndianBytes + Interrupts.hasLegacyControllers.littleEndianBytes
    for index in 0..<vcpus {
      let id = UInt8(truncatingIfNeeded: index)
      body += [Interrupts.processor, 8, id, id] + Interrupts.enabled.littleEndianBytes
    }
    body += [Interrupts.ioAPIC, 12, UInt8(truncatingIfNeeded: vcpus), 0]
    body += InterruptMap.ioAPICAddress.littleEndianBytes + UInt32(0).littleEndianBytes
    body += sourceOverride(0, pin: 2, flags: Interrupts.asOnTheBus)
    body += sourceOverride(
      UInt8(Fixed.interruptNumber), pin: UInt32(Fixed.interruptNumber), flags: Interrupts.activeHighLevel)
    body += [Interrupts.localNMI, 6, 0xFF, 0, 0, 1]  // NMI at LINT1 of all processors
    return Self.table("APIC", revision: 4, body)
  }
}

/// ACPI machine language, as far as these tables need it.
///
/// Source: ACPI specification 6.4, chapters 20.2 (encoding) and 6.4 (resources).
enum AML {
  private enum Opcode {
    static let zero: UInt8 = 0x00, name: UInt8 = 0x08, word: UInt8 = 0x0B, string: UInt8 = 0x0D
    static let scope: UInt8 = 0x10, buffer: UInt8 = 0x11, package: UInt8 = 0x12
    static let device: [UInt8] = [0x5B, 0x82]
  }
  private enum Resource {
    static let ports: UInt8 = 0x47, end: UInt8 = 0x79, memory: UInt8 = 0x86, wideMemory: UInt8 = 0x8A
    static let interrupt: UInt8 = 0x89
    static let decodes16Bits: UInt8 = 1, writable: UInt8 = 1
    /// The device consumes it; edge-triggered, active high.
    static let edgeConsumer: UInt8 = 1 << 0 | 1 << 1
    /// The device consumes it, and both ends are fixed.
    static let fixedConsumer: UInt8 = 1 << 0 | 1 << 2 | 1 << 3
  }

  /// The length of `bytes` and of itself, then `bytes`.
  private static func package(length bytes: [UInt8]) -> [UInt8] {
    if bytes.count + 1 < 1 << 6 { return [UInt8(bytes.count + 1)] + bytes }
    let following = bytes.count + 2 < 1 << 12 ? 1 : bytes.count + 3 < 1 << 20 ? 2 : 3
    let total = bytes.count + 1 + following
    let lead = UInt8(following) << 6 | UInt8(total & 0xF)
    return [lead] + (0..<following).map { UInt8(truncatingIfNeeded: total >> (4 + 8 * $0)) } + bytes
  }

  static func name(_ name: String, _ value: [UInt8]) -> [UInt8] { [Opcode.name] + Array(name.utf8) + value }

  /// A package of the constants 0 and 1.
  static func package(_ constants: [UInt8]) -> [UInt8] {
    [Opcode.package] + package(length: [UInt8(constants.count)] + constants)
  }

  static func scope(_ name: String, _ body: [UInt8]) -> [UInt8] {
    [Opcode.scope] + package(length: Array(name.utf8) + body)
  }

  /// `Device (VP00) { Name (_HID, …) Name (_UID, …) Name (_CRS, …) }`. `number` is below 256.
  static func device(_ attachment: DeviceAttachment, number: Int) -> [UInt8] {
    let digits = Array("0123456789ABCDEF".utf8)
    let own = Array("VP".utf8) + [digits[number >> 4 & 15], digits[number & 15]]
    let id = [Opcode.string] + Array((attachment.acpiID ?? "").utf8) + [0]
    let body =
      name("_HID", id) + name("_UID", [Opcode.word] + UInt16(number).littleEndianBytes)
      + name("_CRS", buffer(resources(of: attachment)))
    return Opcode.device + package(length: own + body)
  }

  private static func buffer(_ bytes: [UInt8]) -> [UInt8] {
    [Opcode.buffer] + package(length: [Opcode.word] + UInt16(bytes.count).littleEndianBytes + bytes)
  }

  private static func resources(of attachment: DeviceAttachment) -> [UInt8] {
    var bytes: [UInt8] = []
    switch attachment.place {
    case .ports(let port, let count):
      bytes += [Resource.ports, Resource.decodes16Bits] + port.littleEndianBytes + port.littleEndianBytes
      bytes += [1, UInt8(clamping: count)]
    case .memory(let address, let size):
      if let address = UInt32(exactly: address), let size = UInt32(exactly: size) {
        bytes += [Resource.memory] + UInt16(9).littleEndianBytes + [Resource.writable]
        bytes += address.littleEndianBytes + size.littleEndianBytes
      } else {
        // Granularity, first and last address, translation, length.
        let words = [0, address, address + (size - 1), 0, size]
        bytes += [Resource.wideMemory] + UInt16(43).littleEndianBytes + [0, Resource.fixedConsumer, Resource.writable]
        bytes += words.flatMap(\.littleEndianBytes)
      }
    }
    if let interrupt = attachment.interrupt {
      bytes += [Resource.interrupt] + UInt16(6).littleEndianBytes + [Resource.edgeConsumer, 1]
      bytes += UInt32(interrupt).littleEndianBytes
    }
    return bytes + [Resource.end, 0]
  }
}

import GuestMemory
import Synchronization

/// A PC's real-time clock and CMOS memory (Motorola MC146818). It shows the host's time in UTC, shifted by what the guest
/// set. It raises no interrupt: its flags are there for guests that poll them.
///
/// Source: Motorola MC146818 data sheet; the places of memory sizes are those of IBM's AT and of QEMU.
public final class RealTimeClock: Device {
  /// At ports 0x70 (index) and 0x71 (data).
  public static let attachment = DeviceAttachment("rtc", at: .ports(0x70, count: 2)) { environment in
    RealTimeClock(memoryBytes: environment.memory.size, wallClockNS: environment.wallClockNS)
  }

  /// Where the century is, as the ACPI tables name it.
  static let centuryIndex: UInt8 = 0x32

  /// What it remembers.
  public struct State: DeviceState {
    /// The first version.
    public static let version = 1
    /// The selected register.
    var index: UInt8 = 0
    /// The memory, of which some registers are computed when they are read.
    var memory = [UInt8](repeating: 0, count: RealTimeClock.memoryBytes)
    /// What the guest set beyond the host's time, in seconds.
    var shiftSeconds: Int64 = 0
    /// When register C was last read.
    var flagsReadNS: UInt64 = 0

    /// The oscillator runs at 32 768 Hz, the time is BCD and has 24 hours.
    public init() {
      memory[Int(Register.a)] = 0x26
      memory[Int(Register.b)] = ControlB.hours24
    }
  }

  private static let memoryBytes = 128
  private static let indexMask: UInt8 = 0x7F  // the highest bit masks the NMI
  /// For so long before each second the chip says that it updates itself.
  private static let updateNS: UInt64 = 244_000
  private static let secondNS: UInt64 = 1_000_000_000
  /// What a guest can set: four digits of a year, some of them above 9, are less than half of this.
  private static let shifts: ClosedRange<Int64> = -(1 << 40)...1 << 40

  private enum Port { static let index: UInt64 = 0, data: UInt64 = 1 }
  fileprivate enum Register {
    static let seconds: UInt8 = 0, minutes: UInt8 = 2, hours: UInt8 = 4, weekday: UInt8 = 6
    static let day: UInt8 = 7, month: UInt8 = 8, year: UInt8 = 9
    static let a: UInt8 = 0x0A, b: UInt8 = 0x0B, c: UInt8 = 0x0C, d: UInt8 = 0x0D
    /// Kilobytes below 1 MiB, above it (twice), and 64 KiB units above 16 MiB: low bytes, each followed by the high one.
    static let baseMemory: UInt8 = 0x15, extendedMemory: UInt8 = 0x17, extendedMemoryCopy: UInt8 = 0x30
    static let highMemory: UInt8 = 0x34
  }
  private enum ControlA { static let updating: UInt8 = 0x80, rate: UInt8 = 0x0F }
  fileprivate enum ControlB { static let set: UInt8 = 0x80, binary: UInt8 = 0x04, hours24: UInt8 = 0x02 }
  private enum Flags { static let periodic: UInt8 = 0x40, update: UInt8 = 0x10 }
  private static let timeIsValid: UInt8 = 0x80  // register D

  private let wallClockNS: @Sendable () -> UInt64
  /// Memory above 1 MiB in KiB, and above 16 MiB in 64 KiB.
  private let extendedMemory, highMemory: UInt16
  /// A leaf lock.
  private let state = Mutex(State())

  /// A clock that shows the time since 1970 that `wallClockNS` returns in nanoseconds.
  public init(memoryBytes: UInt64, wallClockNS: @escaping @Sendable () -> UInt64) {
    self.wallClockNS = wallClockNS
    func units(above start: UInt64, of unit: UInt64) -> UInt16 {
      UInt16(clamping: memoryBytes > start ? (min(memoryBytes, PCMemoryMap.holeStart) - start) / unit : 0)
    }
    extendedMemory = units(above: 1 << 20, of: 1 << 10)
    highMemory = units(above: 16 << 20, of: 64 << 10)
  }

  /// The selected register, from the data port; all ones from the index.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    guard offset == Port.data, width == .byte else { return (width.mask, .none) }
    return (UInt64(state.withLock { readRegister(&$0) }), .none)
  }

  /// Selects a register, or writes the selected one. A write of 16 bits does both.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    let low = UInt8(truncatingIfNeeded: value)
    state.withLock { state in
      switch (offset, width) {
      case (Port.index, .byte): state.index = low & Self.indexMask
      case (Port.index, .word):
        state.index = low & Self.indexMask
        writeRegister(UInt8(truncatingIfNeeded: value >> 8), &state)
      case (Port.data, .byte): writeRegister(low, &state)
      default: break
      }
    }
    return .none
  }

  /// Index, memory and shift.
  public func save() -> State { state.withLock { $0 } }

  /// Takes them over.
  public func restore(_ state: State) throws(DeviceStateError) {
    guard state.memory.count == Self.memoryBytes else { throw .impossible(member: "memory") }
    guard state.index <= Self.indexMask else { throw .impossible(member: "index") }
    guard Self.shifts.contains(state.shiftSeconds) else { throw .impossible(member: "shift") }
    self.state.withLock { $0 = state }
  }

  // MARK: Registers

  private func readRegister(_ state: inout State) -> UInt8 {
    let now = wallClockNS()
    let stored = state.memory[Int(state.index)]
    switch state.index {
    case Register.a:
      let isUpdating = !state.isBeingSet && now % Self.secondNS >= Self.secondNS - Self.updateNS
      return stored & ~ControlA.updating | (isUpdating ? ControlA.updating : 0)
    case Register.c: return readFlags(now, &state)
    case Register.d: return Self.timeIsValid
    case let index where !state.isBeingSet && CalendarTime.holds(index):
      return CalendarTime(seconds: Int64(now / Self.secondNS) &+ state.shiftSeconds).register(index, state.control)
        ?? stored
    case let index: return memorySize(index) ?? stored
    }
  }

  /// The byte of a memory size at `index`; nil where there is none.
  private func memorySize(_ index: UInt8) -> UInt8? {
    func byte(_ size: UInt16, from first: UInt8) -> UInt8 {
      UInt8(truncatingIfNeeded: size >> (index == first ? 0 : 8))
    }
    switch index {
    case Register.baseMemory, Register.baseMemory + 1:
      return byte(UInt16(BIOSData.baseMemoryKiB), from: Register.baseMemory)
    case Register.extendedMemory, Register.extendedMemory + 1:
      return byte(extendedMemory, from: Register.extendedMemory)
    case Register.extendedMemoryCopy, Register.extendedMemoryCopy + 1:
      return byte(extendedMemory, from: Register.extendedMemoryCopy)
    case Register.highMemory, Register.highMemory + 1: return byte(highMemory, from: Register.highMemory)
    default: return nil
    }
  }

  private func writeRegister(_ value: UInt8, _ state: inout State) {
    let wasBeingSet = state.isBeingSet
    let isTime = CalendarTime.holds(state.index)
    let now = Int64(wallClockNS() / Self.secondNS)
    // What the guest does not write keeps what it shows.
    if isTime && !wasBeingSet { state.fillTime(now) }
    if state.index != Register.c && state.index != Register.d { state.memory[Int(state.index)] = value }
    if !wasBeingSet && state.isBeingSet { state.fillTime(now) }
    // A change of the format alone changes no time.
    guard isTime || wasBeingSet, !state.isBeingSet, let time = CalendarTime(state.memory) else { return }
    state.shiftSeconds = time.seconds &- now
  }

  /// What has happened since the flags were last read, which clears them.
  private func readFlags(_ now: UInt64, _ state: inout State) -> UInt8 {
    let before = state.flagsReadNS
    state.flagsReadNS = now
    var flags: UInt8 = now / Self.secondNS != before / Self.secondNS ? Flags.update : 0
    let rate = state.memory[Int(Register.a)] & ControlA.rate
    guard rate > 0 else { return flags }
    // Rates 1 and 2 are those of 8 and 9, by the data sheet.
    let shift = UInt64(rate < 3 ? rate + 7 : rate) - 1
    let periodNS = (Self.secondNS << shift) / 32_768
    if now / periodNS != before / periodNS { flags |= Flags.periodic }
    return flags
  }
}

extension RealTimeClock.State {
  fileprivate var control: UInt8 { memory[Int(RealTimeClock.Register.b)] }
  /// Stores the time that is shown `now`, in seconds since 1970, in the format that is set.
  fileprivate mutating func fillTime(_ now: Int64) {
    let time = CalendarTime(seconds: now &+ shiftSeconds)
    for index in CalendarTime.registers {
      if let shown = time.register(index, control) { memory[Int(index)] = shown }
    }
  }

  fileprivate var isBeingSet: Bool { control & RealTimeClock.ControlB.set != 0 }
}

/// A date and time of the proleptic Gregorian calendar, as the clock's registers show it.
private struct CalendarTime {
  let seconds: Int64

  static let registers: [UInt8] = [
    RealTimeClock.Register.seconds, RealTimeClock.Register.minutes, RealTimeClock.Register.hours,
    RealTimeClock.Register.weekday, RealTimeClock.Register.day, RealTimeClock.Register.month,
    RealTimeClock.Register.year, RealTimeClock.centuryIndex,
  ]

  static func holds(_ index: UInt8) -> Bool { registers.contains(index) }

  init(seconds: Int64) { self.seconds = seconds }

  /// The time that the registers in `memory` show; nil where they show none.
  init?(_ memory: [UInt8]) {
    let control = memory[Int(RealTimeClock.Register.b)]
    func number(_ index: UInt8) -> Int64 {
      let byte = Int64(memory[Int(index)])
      return control & RealTimeClock.ControlB.binary != 0 ? byte : (byte >> 4) * 10 + byte & 0xF
    }
    var hours = number(RealTimeClock.Register.hours)
    if control & RealTimeClock.ControlB.hours24 == 0 {
      // The highest bit says "afternoon", and is no digit.
      let isAfternoon = memory[Int(RealTimeClock.Register.hours)] & 0x80 != 0
      if isAfternoon { hours -= control & RealTimeClock.ControlB.binary != 0 ? 0x80 : 80 }
      hours = hours % 12 + (isAfternoon ? 12 : 0)
    }
    let (month, day) = (number(RealTimeClock.Register.month), number(RealTimeClock.Register.day))
    guard (1...12).contains(month), (1...31).contains(day), hours < 24 else { return nil }
    let year = number(RealTimeClock.centuryIndex) * 100 + number(RealTimeClock.Register.year)
    let days = Self.days(year: year, month: month, day: day)
    seconds =
      days * 86_400 + hours * 3600 + number(RealTimeClock.Register.minutes) * 60
      + number(RealTimeClock.Register.seconds)
  }

  /// What the register at `index` shows in the format that `control` asks for; nil where it shows no part of the time.
  func register(_ index: UInt8, _ control: UInt8) -> UInt8? {
    let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let time = seconds - days * 86_400
    let date = Self.date(days: days)
    switch index {
    case RealTimeClock.Register.seconds: return encoded(time % 60, control)
    case RealTimeClock.Register.minutes: return encoded(time / 60 % 60, control)
    case RealTimeClock.Register.hours:
      let hours = time / 3600
      guard control & RealTimeClock.ControlB.hours24 == 0 else { return encoded(hours, control) }
      return encoded(hours % 12 == 0 ? 12 : hours % 12, control) | (hours < 12 ? 0 : 0x80)
    case RealTimeClock.Register.weekday: return encoded(((days + 4) % 7 + 7) % 7 + 1, control)  // 1: Sunday
    case RealTimeClock.Register.day: return encoded(date.day, control)
    case RealTimeClock.Register.month: return encoded(date.month, control)
    case RealTimeClock.Register.year: return encoded(date.year % 100, control)
    case RealTimeClock.centuryIndex: return encoded(date.year / 100, control)
    default: return nil
    }
  }

  private func encoded(_ number: Int64, _ control: UInt8) -> UInt8 {
    let byte = UInt8(truncatingIfNeeded: number)
    return control & RealTimeClock.ControlB.binary != 0 ? byte : (byte / 10) << 4 | byte % 10
  }

  // Days since 1970 from a date and back: years begin in March here, so that the leap day is the last one.

  private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
    let (y, m) = month > 2 ? (year, month - 3) : (year - 1, month + 9)
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468
  }

  private static func date(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = shifted >= 0 ? shifted / 146_097 : (shifted - 146_096) / 146_097
    let ofEra = shifted - era * 146_097
    let year = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
    let ofYear = ofEra - (365 * year + year / 4 - year / 100)
    let m = (5 * ofYear + 2) / 153
    let month = m < 10 ? m + 3 : m - 9
    return (era * 400 + year + (month <= 2 ? 1 : 0), month, ofYear - (153 * m + 2) / 5 + 1)
  }
}

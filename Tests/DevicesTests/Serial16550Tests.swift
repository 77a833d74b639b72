import Synchronization
import TestSupport
import Testing

@testable import Devices

/// A port on a bus, as a guest sees it.
private struct Port {
  let console = Console(outputCapacity: 256, inputCapacity: 64)
  /// The time that the port sees.
  let clock = Clock()
  let bus: Bus

  final class Clock: Sendable {
    let now = Atomic<UInt64>(1_000_000_000)
  }

  init() throws {
    let serial = Serial16550(console: console, monotonicNS: { [clock] in clock.now.load(ordering: .relaxed) })
    bus = try Bus([(Serial16550.com1, Serial16550.portCount, serial)])
  }

  /// Lets time pass, then polls.
  func poll(afterNS: UInt64) -> DeviceEffect {
    clock.now.add(afterNS, ordering: .relaxed)
    return poll()
  }

  func read(_ register: UInt64, _ width: AccessWidth = .byte) -> UInt64 {
    bus.read(address: 0x3F8 + register, width: width).value
  }

  func write(_ register: UInt64, _ value: UInt64, _ width: AccessWidth = .byte) {
    #expect(bus.write(address: 0x3F8 + register, width: width, value: value) == .none)
  }

  func poll() -> DeviceEffect { bus.read(address: 0x3FD, width: .byte).effect }

  var output: [UInt8] { console.read(from: 0, limit: .max).bytes }
}

private let data: UInt64 = 0
private let ier: UInt64 = 1
private let iir: UInt64 = 2
private let fcr: UInt64 = 2
private let lcr: UInt64 = 3
private let mcr: UInt64 = 4
private let lsr: UInt64 = 5
private let msr: UInt64 = 6
private let scr: UInt64 = 7

struct Serial16550Tests {
  struct Row: Sendable, CustomTestStringConvertible {
    var name: String
    /// Registers to write, then the register to read and what it must give.
    var writes: [(register: UInt64, value: UInt64)] = []
    var read: UInt64
    var expected: UInt64
    var testDescription: String { name }
  }

  static let rows = [
    Row(name: "IER after reset", read: ier, expected: 0),
    Row(name: "IIR after reset", read: iir, expected: 0x01),
    Row(name: "LCR after reset", read: lcr, expected: 0),
    Row(name: "MCR after reset", read: mcr, expected: 0),
    Row(name: "LSR after reset", read: lsr, expected: 0x60),
    Row(name: "MSR after reset", read: msr, expected: 0xB0),
    Row(name: "RBR when empty", read: data, expected: 0),
    Row(name: "SCR keeps", writes: [(scr, 0xA5)], read: scr, expected: 0xA5),
    Row(name: "LCR keeps", writes: [(lcr, 0x1B)], read: lcr, expected: 0x1B),
    Row(name: "IER keeps 4 bits", writes: [(ier, 0xFF)], read: ier, expected: 0x0F),
    Row(name: "MCR keeps 5 bits", writes: [(mcr, 0xEF)], read: mcr, expected: 0x0F),
    Row(name: "LSR ignores writes", writes: [(lsr, 0xFF)], read: lsr, expected: 0x60),
    Row(name: "MSR ignores writes", writes: [(msr, 0x0F)], read: msr, expected: 0xB0),
    Row(name: "DLL reset", writes: [(lcr, 0x80)], read: data, expected: 12),
    Row(name: "DLM reset", writes: [(lcr, 0x80)], read: ier, expected: 0),
    Row(name: "DLL", writes: [(lcr, 0x80), (data, 0x34), (ier, 0x12)], read: data, expected: 0x34),
    Row(name: "DLM", writes: [(lcr, 0x80), (ier, 0x12), (data, 0x34)], read: ier, expected: 0x12),
    Row(name: "DLM is not IER", writes: [(ier, 5), (lcr, 0x80), (ier, 2), (lcr, 3)], read: ier, expected: 5),
    Row(name: "IER is not DLM", writes: [(ier, 5), (lcr, 0x80)], read: ier, expected: 0),
    Row(name: "FIFO on", writes: [(fcr, 0x01)], read: iir, expected: 0xC1),
    Row(name: "FIFO off", writes: [(fcr, 0x01), (fcr, 0x00)], read: iir, expected: 0x01),
    Row(name: "THRE interrupt", writes: [(ier, 0x02)], read: iir, expected: 0x02),
    Row(name: "THRE interrupt, not enabled", writes: [(data, 0x41)], read: iir, expected: 0x01),
    Row(name: "MCR drives no MSR line", writes: [(mcr, 0x0F)], read: msr, expected: 0xB0),
    Row(name: "loopback, all off", writes: [(mcr, 0x10)], read: msr, expected: 0x0B),
    Row(name: "loopback DTR is DSR", writes: [(mcr, 0x11)], read: msr, expected: 0x20 | 0x09),
    Row(name: "loopback RTS is CTS", writes: [(mcr, 0x12)], read: msr, expected: 0x10 | 0x0A),
    Row(name: "loopback OUT1 is RI", writes: [(mcr, 0x14)], read: msr, expected: 0x40 | 0x0B),
    Row(name: "loopback OUT2 is DCD", writes: [(mcr, 0x18)], read: msr, expected: 0x80 | 0x03),
    Row(name: "RI trailing edge", writes: [(mcr, 0x14), (mcr, 0x10)], read: msr, expected: 0x0F),
    Row(name: "loopback LSR", writes: [(mcr, 0x10), (data, 0x41)], read: lsr, expected: 0x61),
    Row(name: "loopback RBR", writes: [(mcr, 0x10), (data, 0x41)], read: data, expected: 0x41),
    Row(
      name: "loopback stays readable", writes: [(mcr, 0x10), (data, 0x41), (mcr, 0)], read: data, expected: 0x41),
    Row(
      name: "overrun without FIFO keeps the new byte", writes: [(mcr, 0x10), (data, 1), (data, 2)], read: data,
      expected: 2),
    Row(name: "overrun shows", writes: [(mcr, 0x10), (data, 1), (data, 2)], read: lsr, expected: 0x63),
    Row(
      name: "overrun interrupt comes first", writes: [(ier, 7), (mcr, 0x10), (data, 1), (data, 2)], read: iir,
      expected: 0x06),
    Row(name: "data interrupt", writes: [(ier, 7), (mcr, 0x10), (data, 1)], read: iir, expected: 0x04),
    Row(name: "modem interrupt", writes: [(ier, 8), (mcr, 0x10)], read: iir, expected: 0x00),
    Row(
      name: "FIFO clear empties it", writes: [(fcr, 1), (mcr, 0x10), (data, 1), (fcr, 3)], read: lsr, expected: 0x60),
    Row(
      name: "switching the FIFO empties it", writes: [(mcr, 0x10), (data, 1), (fcr, 1)], read: lsr, expected: 0x60),
    Row(
      name: "FIFO keeps without clear", writes: [(fcr, 1), (mcr, 0x10), (data, 1), (fcr, 1)], read: lsr,
      expected: 0x61),
  ]

  @Test(arguments: rows)
  func registerTable(row: Row) throws {
    let port = try Port()
    for (register, value) in row.writes { port.write(register, value) }
    #expect(port.read(row.read) == row.expected)
  }

  @Test func statusBitsClearWhenRead() throws {
    let port = try Port()
    port.write(mcr, 0x10)
    port.write(data, 1)
    port.write(data, 2)
    #expect(port.read(msr) == 0x0B && port.read(msr) == 0)
    #expect(port.read(lsr) == 0x63 && port.read(lsr) == 0x61)
    port.write(ier, 2)
    #expect(port.read(iir) == 0x02 && port.read(iir) == 0x01)
    port.write(data, 3)
    #expect(port.read(iir) == 0x02)
    port.write(ier, 2)
    #expect(port.read(iir) == 0x01, "enabling what is enabled already raises nothing")
    port.write(ier, 0)
    port.write(ier, 2)
    #expect(port.read(iir) == 0x02)
  }

  @Test func transmits() throws {
    let port = try Port()
    for byte in "Hi\n".utf8 { port.write(data, UInt64(byte)) }
    #expect(port.output == Array("Hi\n".utf8))
    port.write(lcr, 0x80)
    port.write(data, 0x41)
    port.write(lcr, 0x03)
    port.write(mcr, 0x10)
    port.write(data, 0x42)
    #expect(port.output == Array("Hi\n".utf8), "neither the divisor nor a looped byte is output")
  }

  @Test func receives() throws {
    let port = try Port()
    #expect(port.console.offer([0x61, 0x62, 0x63]) == 3)
    port.write(ier, 1)
    #expect(port.read(iir) == 0x04)
    #expect(port.read(lsr) == 0x61)
    #expect(port.read(data) == 0x61)
    port.write(fcr, 0x07)
    #expect(port.read(lsr) == 0x61, "what is still on the line outlives a FIFO clear")
    port.write(mcr, 0x10)
    #expect(port.read(lsr) == 0x60, "loopback cuts the line")
    #expect(port.read(data) == 0)
    port.write(mcr, 0x00)
    #expect(port.read(data) == 0x62)
    #expect(port.read(data) == 0x63)
    #expect(port.read(lsr) == 0x60)
    #expect(port.read(iir) == 0xC1)
  }

  @Test func loopbackFIFOHoldsSixteen() throws {
    let port = try Port()
    port.write(fcr, 1)
    port.write(mcr, 0x10)
    for byte in UInt64(0)..<17 { port.write(data, byte) }
    #expect(port.read(lsr) == 0x63)
    #expect((0..<17).map { _ in port.read(data) } == Array(0..<16) + [0])
    #expect(port.read(lsr) == 0x60)
  }

  @Test func wideAccessesAreConsecutiveBytes() throws {
    let port = try Port()
    port.write(lcr, 0x5A_1F, .word)  // LCR and MCR
    #expect(port.read(lcr) == 0x1F && port.read(mcr) == 0x1A)
    port.write(mcr, 0)
    _ = port.read(msr)
    port.write(scr, 0x77)
    #expect(port.read(mcr, .dword) == 0x77_B0_60_00)
    port.write(lcr, 0x80)
    #expect(port.read(data, .qword) == 0x77_B0_60_00_80_01_00_0C)
    port.write(data, 0xBEEF, .word)
    #expect(port.read(data, .word) == 0xBEEF)
    // DLAB is set by the fourth byte, after the first two went to THR and IER.
    port.write(lcr, 0)
    port.write(data, 0x80_00_03_41, .dword)
    #expect(port.output == [0x41])
    #expect(port.read(data, .word) == 0xBEEF)
    // Past the last register there is nothing: the bus leaves the access unclaimed.
    #expect(port.read(scr, .word) == 0xFFFF)
    #expect(port.read(lsr, .dword) == 0xFFFF_FFFF)
  }

  private static func nap(_ effect: DeviceEffect) -> UInt64? {
    if case .idle(let duration) = effect { duration } else { nil }
  }

  @Test func napsFromTheSixteenthEmptyPollAndLongerEachTime() throws {
    let port = try Port()
    for _ in 1...15 { #expect(port.poll(afterNS: 20_000) == .none) }
    var naps: [UInt64] = []
    var last: UInt64 = 20_000
    for _ in 0..<10 {
      // It comes back a little late.
      let nap = try #require(Self.nap(port.poll(afterNS: last)))
      naps.append(nap / 1000)
      last = nap + 80_000
    }
    #expect(naps == [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000])
    #expect(port.bus.read(address: 0x3FC, width: .word).effect != .none, "a wide access polls as well")
    #expect(port.console.offer([1]) == 1)
    #expect(port.poll() == .none)
    #expect(port.read(data) == 1)
    for _ in 1...15 { #expect(port.poll() == .none) }
    #expect(port.poll() == .idle(forNS: 50_000))
    port.write(data, 0x41)
    for _ in 1...15 { #expect(port.poll() == .none) }
    #expect(port.poll() == .idle(forNS: 50_000))
    // Input read without a poll in between counts as arrived.
    #expect(port.console.offer([2]) == 1)
    #expect(port.read(data) == 2)
    #expect(port.poll() == .none)
  }

  @Test func aGuestThatWorksBetweenItsLooksNeverNaps() throws {
    let port = try Port()
    for _ in 0..<1000 { #expect(port.poll(afterNS: 300_000) == .none) }
    // Nor does one that had napped, soon.
    for _ in 0..<40 { _ = port.poll(afterNS: 10_000) }
    let lost = (0..<1000).reduce(0 as UInt64) { lost, _ in
      let nap = Self.nap(port.poll(afterNS: 10_300_000)) ?? 0
      return lost + nap
    }
    #expect(lost < 20_000_000)
    #expect(port.poll(afterNS: 300_000) == .none)
  }

  @Test func neverIdlesInLoopback() throws {
    let port = try Port()
    port.write(mcr, 0x10)
    for _ in 0..<100 { #expect(port.poll() == .none) }
  }

  @Test func offsetsOutsideTheDeviceAreHarmless() {
    let port = Serial16550(console: Console(), monotonicNS: { 0 })
    for offset: UInt64 in [8, 9, .max - 1, .max] {
      for width in AccessWidth.allCases {
        #expect(port.read(offset: offset, width: width) == (width.mask, .none))
        #expect(port.write(offset: offset, width: width, value: .max) == .none)
      }
    }
    #expect(port.read(offset: 6, width: .qword) == (0xFFFF_FFFF_FFFF_00B0, .none))
  }

  /// Anything a guest can do on its ports: it must not trap, what it reads stays in its width, nothing but the
  /// debug-exit port ends it, only a poll without input idles, and only THR outputs, one byte a write.
  @Test func randomAccesses() throws {
    var random = SeededGenerator(for: "Serial16550Tests")
    let console = Console(outputCapacity: 100, inputCapacity: 10)
    let bus = try Bus([
      (Serial16550.com1, Serial16550.portCount, Serial16550(console: console, monotonicNS: { 0 })),
      (0xF4, 4, DebugExit()),
    ])
    var offered: UInt64 = 0
    for _ in 0..<200_000 {
      let address: UInt64 =
        switch Int.random(in: 0..<10, using: &random) {
        case 0: .random(in: 0 ... .max, using: &random)
        case 1: .random(in: 0xF0..<0x100, using: &random)
        default: .random(in: 0x3F0..<0x408, using: &random)
        }
      let width = AccessWidth.allCases[Int.random(in: 0..<4, using: &random)]
      let end = address.addingReportingOverflow(UInt64(width.rawValue))
      if Bool.random(using: &random) {
        let (value, effect) = bus.read(address: address, width: width)
        #expect(value & ~width.mask == 0)
        let polled = address <= 0x3FD && end.partialValue > 0x3FD
        #expect(effect == .none || Self.nap(effect) != nil && polled && !console.hasInput)
      } else {
        let value = UInt64.random(in: 0 ... .max, using: &random)
        let exits = address >= 0xF4 && end.partialValue <= 0xF8 && !end.overflow
        let before = console.written
        let effect = bus.write(address: address, width: width, value: value)
        #expect(effect == (exits ? .exit(code: UInt8(truncatingIfNeeded: value)) : .none))
        #expect(console.written - before <= (address == 0x3F8 ? 1 : 0))
      }
      if offered < 1_000_000 && Int.random(in: 0..<20, using: &random) == 0 {
        offered += UInt64(console.offer([UInt8](repeating: 0x55, count: Int.random(in: 0..<4, using: &random))))
      }
    }
    #expect(offered > 10 && console.written > 10, "the accesses reached the port")
  }
}

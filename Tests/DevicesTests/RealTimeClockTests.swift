import Synchronization
import TestSupport
import Testing

@testable import Devices

struct RealTimeClockTests {
  /// 2026-11-30 12:34:56 UTC, a Monday.
  private static let now: UInt64 = 1_796_042_096
  private final class Clock: Sendable {
    let ns = Atomic<UInt64>(RealTimeClockTests.now * 1_000_000_000)
  }

  private let clock = Clock()
  private let device: RealTimeClock

  init() {
    device = RealTimeClock(memoryBytes: 64 << 20, wallClockNS: { [clock] in clock.ns.load(ordering: .relaxed) })
  }

  private func read(_ index: UInt8) -> UInt8 {
    _ = device.write(offset: 0, width: .byte, value: UInt64(index))
    return UInt8(device.read(offset: 1, width: .byte).value)
  }

  private func write(_ index: UInt8, _ value: UInt8) {
    _ = device.write(offset: 0, width: .byte, value: UInt64(index))
    _ = device.write(offset: 1, width: .byte, value: UInt64(value))
  }

  private var shown: [UInt8] { [0x32, 9, 8, 7, 4, 2, 0, 6].map(read) }

  @Test func showsTheHostsTime() {
    #expect(shown == [0x20, 0x26, 0x11, 0x30, 0x12, 0x34, 0x56, 2])
    write(0x0B, 0x06)  // binary
    #expect(shown == [20, 26, 11, 30, 12, 34, 56, 2])
    write(0x0B, 0x00)  // BCD, 12 hours
    #expect(read(4) == 0x92)
    clock.ns.store(951_782_400 * 1_000_000_000, ordering: .relaxed)  // 2000-02-29 00:00
    write(0x0B, 0x02)
    #expect(shown == [0x20, 0, 0x02, 0x29, 0, 0, 0, 3])
  }

  /// Guests wait for the end of an update, and some for its beginning too: both happen each second.
  @Test func updatesItselfOnceASecond() {
    #expect(read(0x0A) == 0x26)
    clock.ns.add(999_800_000, ordering: .relaxed)
    #expect(read(0x0A) == 0xA6)
    clock.ns.add(300_000, ordering: .relaxed)
    #expect(read(0x0A) == 0x26 && read(0) == 0x57)
  }

  @Test func flagsSayWhatHappenedAndAreClearedByLooking() {
    _ = read(0x0C)
    #expect(read(0x0C) == 0)
    clock.ns.add(1_000_000, ordering: .relaxed)
    #expect(read(0x0C) == 0x40)  // 1024 Hz
    clock.ns.add(1_000_000_000, ordering: .relaxed)
    #expect(read(0x0C) == 0x50)
    #expect(read(0x0D) == 0x80)
  }

  @Test func aGuestCanSetIt() {
    write(0x0B, 0x82)  // stop
    for (index, value) in [(0x32, 0x19), (9, 0x99), (8, 0x12), (7, 0x31), (4, 0x23), (2, 0x59), (0, 0x59)]
      as [(UInt8, UInt8)]
    {
      write(index, value)
    }
    #expect(read(0) == 0x59)
    clock.ns.add(5_000_000_000, ordering: .relaxed)
    #expect(read(0) == 0x59)
    write(0x0B, 0x02)
    clock.ns.add(1_000_000_000, ordering: .relaxed)
    #expect(shown == [0x20, 0, 0x01, 0x01, 0, 0, 0, 7])
    // A single register, while it runs.
    write(2, 0x30)
    #expect(shown == [0x20, 0, 0x01, 0x01, 0, 0x30, 0, 7])
  }

  @Test func remembersBytesAndMemorySizes() {
    write(0x0F, 0x0A)
    #expect(read(0x0F) == 0x0A && read(0x8F) == 0x0A)
    #expect([0x15, 0x16, 0x17, 0x18, 0x30, 0x31, 0x34, 0x35].map(read) == [0x7F, 2, 0, 0xFC, 0, 0xFC, 0, 3])
  }

  /// Anything a guest can write, and anything an enemy can write into a saved state: it never traps.
  @Test func randomAccessesAndStates() throws {
    var random = SeededGenerator(for: "RealTimeClockTests")
    for _ in 0..<50_000 {
      let offset = UInt64.random(in: 0...3, using: &random)
      let width = AccessWidth.allCases[Int.random(in: 0..<4, using: &random)]
      let value = UInt64.random(in: 0 ... .max, using: &random)
      if Bool.random(using: &random) {
        _ = device.write(offset: offset, width: width, value: value & (Bool.random(using: &random) ? 0x0F : .max))
      } else {
        _ = device.read(offset: offset, width: width)
      }
      if Int.random(in: 0..<100, using: &random) == 0 {
        clock.ns.store(UInt64.random(in: 0 ... .max, using: &random), ordering: .relaxed)
        var state = device.save()
        state.shiftSeconds = Int64.random(in: -1 << 41...1 << 41, using: &random)
        try? device.restore(state)
      }
    }
    var state = RealTimeClock.State()
    state.memory = []
    #expect(throws: DeviceStateError.impossible(member: "memory")) { try device.restore(state) }
    state = RealTimeClock.State()
    state.shiftSeconds = .min
    #expect(throws: DeviceStateError.impossible(member: "shift")) { try device.restore(state) }
  }
}

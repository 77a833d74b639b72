import Synchronization
import Testing

@testable import Devices

/// A line that counts its pulses.
private final class CountingLine: InterruptLine {
  private let count = Atomic<Int>(0)
  func pulse() { count.add(1, ordering: .relaxed) }
  /// The pulses since it was last asked.
  func take() -> Int { count.exchange(0, ordering: .relaxed) }
}

struct SerialInterruptTests {
  private let console = Console()
  private let line = CountingLine()
  private let port: Serial16550

  private static let ier: UInt64 = 1
  private static let iir: UInt64 = 2
  private static let received: UInt64 = 1
  private static let transmitted: UInt64 = 2

  init() { port = Serial16550(console: console, interrupt: line, monotonicNS: { 0 }) }

  private func read(_ register: UInt64) -> UInt64 { port.read(offset: register, width: .byte).value }
  private func write(_ register: UInt64, _ value: UInt64) {
    #expect(port.write(offset: register, width: .byte, value: value) == .none)
  }

  @Test func inputInterruptsAGuestThatEnabledIt() {
    #expect(console.offer([1]) == 1)
    #expect(!port.inputArrived() && line.take() == 0)
    // It was there before: enabling the interrupt raises it.
    write(Self.ier, Self.received)
    #expect(line.take() == 1)
    #expect(read(Self.iir) == 0x04 && read(0) == 1 && read(Self.iir) == 0x01)
    #expect(console.offer([2, 3]) == 2)
    #expect(port.inputArrived() && line.take() == 1)
    // Reading one of two raises nothing: the cause stands.
    #expect(read(0) == 2 && line.take() == 0)
    // More input is told of even so: the guest may have given up.
    #expect(port.inputArrived() && line.take() == 1)
    #expect(read(0) == 3 && read(Self.iir) == 0x01)
  }

  @Test func anEmptyTransmitterInterruptsOnceForEachTimeItIsLookedAt() {
    write(0, 0x41)
    #expect(line.take() == 0)
    write(Self.ier, Self.transmitted)
    #expect(line.take() == 1)
    // It stands until it is looked at: more bytes raise nothing.
    for _ in 0..<16 { write(0, 0x42) }
    #expect(line.take() == 0)
    #expect(read(Self.iir) == 0x02 && read(Self.iir) == 0x01)
    write(0, 0x43)
    #expect(line.take() == 1)
    write(Self.ier, 0)
    #expect(read(Self.iir) == 0x01)
    // As drivers find out whether the port forgets an interrupt.
    write(Self.ier, Self.transmitted)
    #expect(line.take() == 1 && read(Self.iir) == 0x02)
  }

  @Test func inputComesBeforeTheTransmitter() {
    write(Self.ier, Self.received | Self.transmitted)
    #expect(line.take() == 1)
    #expect(console.offer([9]) == 1)
    #expect(port.inputArrived() && line.take() == 1)
    #expect(read(Self.iir) == 0x04 && read(0) == 9 && read(Self.iir) == 0x02 && read(Self.iir) == 0x01)
    #expect(line.take() == 0)
  }

  @Test func aGuestThatIsInterruptedNeverNaps() {
    func poll() -> DeviceEffect { port.read(offset: 5, width: .byte).effect }
    for _ in 0..<15 { #expect(poll() == .none) }
    #expect(poll() == .idle(forNS: 50_000))
    write(Self.ier, Self.received)
    for _ in 0..<100 { #expect(poll() == .none) }
  }
}

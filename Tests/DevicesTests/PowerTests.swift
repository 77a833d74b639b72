import Testing

@testable import Devices

/// How a guest turns a PC off, and resets it.
struct PowerTests {
  private let power = PowerManagement()
  private let keyboard = KeyboardController()
  private let reset = ResetControl()

  @Test func sleepTurnsOff() {
    #expect(power.write(offset: 4, width: .word, value: 0x2000) == .powerOff)
    #expect(power.write(offset: 4, width: .word, value: 0x3C01) == .powerOff)
    // Without its enabling bit, at another place or as something else it is none.
    #expect(power.write(offset: 4, width: .word, value: 0xDFFF) == .none)
    for offset: UInt64 in [0, 1, 2, 3, 5] {
      #expect(power.write(offset: offset, width: .word, value: 0xFFFF) == .none)
    }
    #expect(power.write(offset: 4, width: .byte, value: 0xFF) == .none)
  }

  @Test func eventsAreKeptAndNeverHappen() {
    #expect(power.read(offset: 4, width: .word).value & 0xFFFF == 1)
    #expect(power.write(offset: 2, width: .word, value: 0x0120) == .none)
    #expect(power.read(offset: 2, width: .word).value & 0xFFFF == 0x0120)
    #expect(power.read(offset: 0, width: .word).value & 0xFFFF == 0)
    #expect(power.read(offset: .max, width: .qword).value == 0)
  }

  @Test func theResetBitResets() {
    for value: UInt64 in [0x04, 0x06, 0x0E, 0xFF] {
      #expect(reset.write(offset: 0, width: .byte, value: value) == .reset)
    }
    for value: UInt64 in [0x00, 0x02, 0x0A, 0xFB] {
      #expect(reset.write(offset: 0, width: .byte, value: value) == .none)
    }
    #expect(reset.read(offset: 0, width: .byte).value == 0)
  }

  @Test func theKeyboardControllerAnswersAtOnceAndResets() {
    #expect(keyboard.read(offset: 4, width: .byte).value == 0)
    for (command, answer): (UInt64, UInt64) in [(0x20, 0), (0xAA, 0x55), (0xAB, 0)] {
      #expect(keyboard.write(offset: 4, width: .byte, value: command) == .none)
      #expect(keyboard.read(offset: 4, width: .byte).value == 1)
      #expect(keyboard.read(offset: 0, width: .byte).value == answer)
      #expect(keyboard.read(offset: 4, width: .byte).value == 0)
    }
    #expect(keyboard.write(offset: 0, width: .byte, value: 0xFE) == .none)
    #expect(keyboard.write(offset: 4, width: .byte, value: 0xFE) == .reset)
  }
}

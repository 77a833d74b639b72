import Testing

@testable import Devices

struct FirmwareConfigurationTests {
  private func bytes(_ device: FirmwareConfiguration, item: UInt64, count: Int) -> [UInt64] {
    #expect(device.write(offset: 0, width: .word, value: item) == .none)
    return (0..<count).map { _ in device.read(offset: 1, width: .byte).value }
  }

  @Test func tellsHowManyVCPUsThereAre() {
    let device = FirmwareConfiguration(vcpus: 3, memoryBytes: 0x1_2345_6789)
    #expect(bytes(device, item: 5, count: 3) == [3, 0, 0])
    #expect(bytes(device, item: 0xF, count: 2) == [3, 0])
    #expect(bytes(device, item: 3, count: 9) == [0x89, 0x67, 0x45, 0x23, 1, 0, 0, 0, 0])
    #expect(bytes(device, item: 0, count: 5) == [0x51, 0x45, 0x4D, 0x55, 0])
    #expect(bytes(device, item: 1, count: 4) == [1, 0, 0, 0])
  }

  @Test func selectingBeginsAnew() {
    let device = FirmwareConfiguration(vcpus: 1, memoryBytes: 0)
    #expect(bytes(device, item: 0, count: 2) == [0x51, 0x45])
    #expect(bytes(device, item: 0, count: 2) == [0x51, 0x45])
  }

  @Test func whatItDoesNotKnowIsZeros() {
    let device = FirmwareConfiguration(vcpus: 1, memoryBytes: 0)
    for item: UInt64 in [2, 0x11, 0x19, 0x4000, 0x8000, 0xFFFF] {
      #expect(bytes(device, item: item, count: 9).allSatisfy { $0 == 0 })
    }
    #expect(device.read(offset: 1, width: .byte).value == 0)
  }

  @Test func otherAccessesDoNothing() {
    let device = FirmwareConfiguration(vcpus: 1, memoryBytes: 0)
    #expect(bytes(device, item: 0, count: 1) == [0x51])
    for width in AccessWidth.allCases {
      #expect(device.write(offset: 1, width: width, value: 5) == .none)
      #expect(device.read(offset: 0, width: width).value == width.mask)
      if width != .byte { #expect(device.read(offset: 1, width: width).value == width.mask) }
      if width != .word { #expect(device.write(offset: 0, width: width, value: 5) == .none) }
    }
    #expect(device.read(offset: 1, width: .byte).value == 0x45)
  }
}

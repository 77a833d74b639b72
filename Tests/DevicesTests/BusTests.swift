import Synchronization
import Testing

@testable import Devices

/// Records what reaches it; reads give more bits than narrow accesses carry.
private final class Probe: Device {
  struct Access: Equatable, Sendable {
    var offset: UInt64
    var width: AccessWidth
    var written: UInt64?
  }

  private let log = Mutex<[Access]>([])

  var accesses: [Access] { log.withLock { $0 } }

  func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    log.withLock { $0.append(Access(offset: offset, width: width, written: nil)) }
    return (0x0123_4567_89AB_CDEF, .idle(forNS: 7))
  }

  func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    log.withLock { $0.append(Access(offset: offset, width: width, written: value)) }
    return .exit(code: 7)
  }
}

struct BusTests {
  struct Row: Sendable, CustomTestStringConvertible {
    var address: UInt64
    var width: AccessWidth
    /// The offset the device at 0x100..<0x108 sees; nil when the access is not its.
    var offset: UInt64?
    var testDescription: String { "\(width) at 0x\(String(address, radix: 16))" }
  }

  static let rows = [
    Row(address: 0x0FF, width: .byte, offset: nil),
    Row(address: 0x0FF, width: .word, offset: nil),
    Row(address: 0x100, width: .byte, offset: 0),
    Row(address: 0x100, width: .word, offset: 0),
    Row(address: 0x100, width: .dword, offset: 0),
    Row(address: 0x100, width: .qword, offset: 0),
    Row(address: 0x101, width: .qword, offset: nil),
    Row(address: 0x104, width: .dword, offset: 4),
    Row(address: 0x105, width: .dword, offset: nil),
    Row(address: 0x107, width: .byte, offset: 7),
    Row(address: 0x107, width: .word, offset: nil),
    Row(address: 0x108, width: .byte, offset: nil),
    Row(address: .max, width: .qword, offset: nil),
  ]

  @Test(arguments: rows)
  func claimsWholeAccessesOnly(row: Row) throws {
    let probe = Probe()
    let bus = try Bus([(0x100, 8, probe)])
    let read = bus.read(address: row.address, width: row.width)
    let written = bus.write(address: row.address, width: row.width, value: .max)
    if let offset = row.offset {
      #expect(read == (0x0123_4567_89AB_CDEF & row.width.mask, .idle(forNS: 7)))
      #expect(written == .exit(code: 7))
      #expect(
        probe.accesses == [
          .init(offset: offset, width: row.width, written: nil),
          .init(offset: offset, width: row.width, written: row.width.mask),
        ])
    } else {
      #expect(read == (row.width.mask, .none))
      #expect(written == .none)
      #expect(probe.accesses.isEmpty)
    }
  }

  @Test func masksCoverTheWidth() {
    #expect(AccessWidth.allCases.map(\.mask) == [0xFF, 0xFFFF, 0xFFFF_FFFF, .max])
  }

  @Test func findsEachOfSeveralDevices() throws {
    let probes = [Probe(), Probe(), Probe()]
    // Out of order, adjacent, and up to the last address.
    let bus = try Bus([(.max - 3, 4, probes[2]), (0x10, 0x10, probes[0]), (0x20, 1, probes[1])])
    _ = bus.read(address: 0x1F, width: .byte)
    _ = bus.read(address: 0x1F, width: .word)
    _ = bus.read(address: 0x20, width: .byte)
    _ = bus.read(address: .max, width: .byte)
    _ = bus.read(address: .max, width: .word)
    #expect(probes.map { $0.accesses.map(\.offset) } == [[0xF], [0], [3]])
  }

  @Test func oneDeviceMayFillTheAddressSpaceButOneByte() throws {
    let probe = Probe()
    let bus = try Bus([(0, .max, probe)])
    #expect(bus.read(address: .max, width: .byte) == (0xFF, .none))
    #expect(bus.read(address: .max - 1, width: .byte).effect == .idle(forNS: 7))
  }

  @Test func refusesImpossibleMappings() {
    let device = DebugExit()
    #expect(throws: BusError.empty(base: 5)) { try Bus([(5, 0, device)]) }
    #expect(throws: BusError.wrapsAround(base: .max, size: 2)) { try Bus([(.max, 2, device)]) }
    #expect(throws: BusError.overlap(0...9, 9...9)) { try Bus([(9, 1, device), (0, 10, device)]) }
    #expect(throws: BusError.overlap(3...3, 3...3)) { try Bus([(3, 1, device), (3, 1, device)]) }
    #expect(throws: BusError.overlap(0...99, 10...19)) { try Bus([(0, 100, device), (10, 10, device)]) }
  }

  @Test func errorsAreSentences() {
    #expect(
      BusError.overlap(0...9, 9...0x20).description == "The devices at 0x0-0x9 and 0x9-0x20 overlap. Move one of them.")
    #expect(BusError.empty(base: 16).description.contains("0x10 has size 0."))
    #expect(BusError.wrapsAround(base: 16, size: 17).description.contains("0x10 of size 0x11 ends past"))
  }

  @Test(arguments: AccessWidth.allCases)
  func debugExitTakesAnyWrite(width: AccessWidth) throws {
    let bus = try Bus([(DebugExit.attachment, DebugExit())], ports: true)
    let claimed = width != .qword
    #expect(
      bus.write(address: 0xF4, width: width, value: 0x1234_5678_9ABC_DE2A) == (claimed ? .exit(code: 0x2A) : .none))
    #expect(bus.read(address: 0xF4, width: width) == (width.mask, .none))
  }
}

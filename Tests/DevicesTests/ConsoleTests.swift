import TestSupport
import Testing

@testable import Devices

struct ConsoleTests {
  @Test func startsEmpty() {
    let console = Console()
    #expect(console.written == 0)
    #expect(console.read(from: 0, limit: 10) == ([], 0, 0))
    #expect(!console.hasInput)
    #expect(console.takeInput() == nil)
  }

  /// Every byte is one of output, NUL too.
  @Test func keepsAllBytesAsTheyAre() {
    let console = Console()
    let port = Serial16550(console: console, monotonicNS: { 0 })
    for byte in UInt8.min...UInt8.max { _ = port.write(offset: 0, width: .byte, value: UInt64(byte)) }
    #expect(console.read(from: 0, limit: .max).bytes == Array(UInt8.min...UInt8.max))
  }

  @Test func bothDirectionsAreSavedRestoredAndReset() throws {
    let console = Console(outputCapacity: 4, inputCapacity: 4)
    console.append([1, 2, 3, 4, 5])
    #expect(console.offer([6, 7]) == 2 && console.takeInput() == 6)
    let saved = console.save()
    let other = Console(outputCapacity: 4, inputCapacity: 4)
    try other.restore(saved)
    #expect(other.read(from: 0, limit: 9) == ([2, 3, 4, 5], 1, 5) && other.takeInput() == 7)
    console.reset()
    #expect(console.written == 0 && !console.hasInput && console.save() == Console.State())
    // What another console has, or an enemy made, is refused.
    #expect(throws: DeviceStateError.impossible(member: "output")) { try Console().restore(saved) }
    var broken = saved
    broken.inputHead = 4
    #expect(throws: DeviceStateError.impossible(member: "input")) { try other.restore(broken) }
  }

  @Test func keepsTheNewestBytes() {
    let console = Console(outputCapacity: 4)
    for byte in UInt8(0)..<6 { console.append(byte) }
    #expect(console.written == 6)
    #expect(console.read(from: 0, limit: 10) == ([2, 3, 4, 5], 2, 6))
    #expect(console.read(from: 3, limit: 2) == ([3, 4], 3, 5))
    #expect(console.read(from: 6, limit: 10) == ([], 6, 6))
    #expect(console.read(from: .max, limit: .max) == ([], 6, 6))
    #expect(console.read(from: 0, limit: -1) == ([], 2, 2))
  }

  @Test func keepsTheDefaultCapacities() {
    let console = Console()
    for index in 0..<70_000 { console.append(UInt8(truncatingIfNeeded: index)) }
    let (bytes, start, next) = console.read(from: 0, limit: .max)
    #expect((bytes.count, start, next) == (65536, 70_000 - 65536, 70_000))
    #expect(console.offer([UInt8](repeating: 1, count: 70_000)) == 65_536)
  }

  @Test func inputIsBoundedAndInOrder() {
    let console = Console(inputCapacity: 3)
    #expect(console.offer([]) == 0)
    #expect(console.offer([1, 2]) == 2)
    #expect(console.takeInput() == 1)
    #expect(console.offer([3, 4, 5]) == 2)
    #expect(console.offer([6]) == 0)
    #expect(console.hasInput)
    #expect((0..<4).map { _ in console.takeInput() } == [2, 3, 4, nil])
    #expect(!console.hasInput)
  }

  @Test(arguments: [1, 2, 7, 255, 256, 257, 1000]) func appendsManyAtOnceAsOneByOne(capacity: Int) {
    var random = SeededGenerator(for: "ConsoleTests many, capacity \(capacity)")
    let console = Console(outputCapacity: capacity)
    let other = Console(outputCapacity: capacity)
    for _ in 0..<200 {
      let bytes = (0..<Int.random(in: 0...3 * capacity, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      console.append(bytes)
      for byte in bytes { other.append(byte) }
      #expect(console.read(from: 0, limit: .max) == other.read(from: 0, limit: .max))
      console.append(7)
      other.append(7)
    }
  }

  /// Random operations against arrays that keep everything.
  @Test(arguments: [1, 2, 7, 255, 256, 257, 1000])
  func agreesWithASimpleOracle(capacity: Int) {
    var random = SeededGenerator(for: "ConsoleTests capacity \(capacity)")
    let console = Console(outputCapacity: capacity, inputCapacity: capacity)
    var output: [UInt8] = []
    var input: [UInt8] = []
    for _ in 0..<3000 {
      switch Int.random(in: 0..<5, using: &random) {
      case 0, 1:
        for _ in 0..<Int.random(in: 0...capacity, using: &random) {
          let byte = UInt8.random(in: 0...255, using: &random)
          console.append(byte)
          output.append(byte)
          if output.count % 7 == 0 { #expect(console.written == UInt64(output.count)) }
        }
      case 2:
        let asked = Int.random(in: 0...output.count + 2, using: &random)
        let limit = Int.random(in: 0...capacity + 1, using: &random)
        let start = min(max(asked, output.count - capacity), output.count)
        let end = min(start + limit, output.count)
        #expect(
          console.read(from: UInt64(asked), limit: limit) == (Array(output[start..<end]), UInt64(start), UInt64(end)))
      case 3:
        let offered = (0..<Int.random(in: 0...capacity + 1, using: &random)).map { _ in
          UInt8.random(in: 0...255, using: &random)
        }
        let taken = console.offer(offered)
        #expect(taken == min(offered.count, capacity - input.count))
        input += offered.prefix(taken)
      default:
        for _ in 0..<Int.random(in: 0...capacity, using: &random) {
          #expect(console.hasInput == !input.isEmpty)
          #expect(console.takeInput() == (input.isEmpty ? nil : input.removeFirst()))
        }
      }
    }
  }

  /// Two vCPUs write, a third drains input, two clients read and type: nothing is lost, repeated or out of order.
  @Test func isSafeAcrossThreads() async {
    let console = Console(outputCapacity: 512, inputCapacity: 16)
    let count = 20_000
    await withTaskGroup(of: Void.self) { group in
      for parity in UInt8(0)..<2 {
        group.addTask {
          for index in 0..<count { console.append(UInt8(truncatingIfNeeded: index) & 0xFE | parity) }
        }
      }
      group.addTask {
        var next: UInt64 = 0
        while next < UInt64(2 * count) {
          let chunk = console.read(from: next, limit: 100)
          #expect(chunk.start >= next && chunk.next == chunk.start + UInt64(chunk.bytes.count))
          next = chunk.next
          if chunk.bytes.isEmpty { await Task.yield() }
        }
      }
      group.addTask {
        var sent = 0
        while sent < count {
          sent += console.offer((sent..<min(sent + 10, count)).map { UInt8(truncatingIfNeeded: $0) })
          await Task.yield()
        }
      }
      group.addTask {
        var received = 0
        while received < count {
          guard let byte = console.takeInput() else {
            await Task.yield()
            continue
          }
          #expect(byte == UInt8(truncatingIfNeeded: received))
          received += 1
        }
      }
    }
    #expect(console.written == UInt64(2 * count))
    #expect(!console.hasInput)
  }
}

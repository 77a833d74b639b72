import TestRandomness
import Testing

@testable import Devices

/// Bytes in memory as what a device holds at first.
private struct Contents: BlockContents {
  let bytes: [UInt8]
  var isReadable = true

  var count: UInt64 { UInt64(bytes.count) }

  func read(at offset: UInt64, count: Int) throws(BlockError) -> [UInt8] {
    guard isReadable else { throw .unreadable }
    return Array(bytes[Int(offset)..<Int(offset) + count])
  }
}

struct BlockOverlayTests {
  @Test func readsWhatWasWrittenAndElseWhatItHeld() throws {
    var random = SeededGenerator(for: "BlockOverlayTests.reads")
    for size in [1, 512, 4096, 4097, 20_000] {
      let base = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
      let overlay = BlockOverlay(Contents(bytes: base), budget: OverlayBudget(bytes: 1 << 20))
      var expected = base
      for _ in 0..<300 {
        let start = Int.random(in: 0...size, using: &random)
        let count = Int.random(in: 0...min(size - start, 9000), using: &random)
        if Bool.random(using: &random) {
          let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
          try overlay.write(bytes, at: UInt64(start))
          expected.replaceSubrange(start..<start + count, with: bytes)
        }
        #expect(try overlay.read(at: UInt64(start), count: count) == Array(expected[start..<start + count]))
      }
      #expect(try overlay.read(at: 0, count: size) == expected)
    }
  }

  @Test(arguments: [(0, 8193), (8192, 1), (8193, 0), (UInt64.max, 1), (UInt64.max, 0)])
  func rangesOutsideAreRefused(offset: UInt64, count: Int) {
    let overlay = BlockOverlay(Contents(bytes: [UInt8](repeating: 0, count: 8192)), budget: OverlayBudget(bytes: 8192))
    #expect(throws: BlockError.outOfRange) { try overlay.read(at: offset, count: count) }
    #expect(throws: BlockError.outOfRange) { try overlay.write([UInt8](repeating: 1, count: count), at: offset) }
  }

  /// What one device has taken another does not get, and what is kept once may be written again.
  @Test func allDevicesShareWhatTheyMayKeep() throws {
    let budget = OverlayBudget(bytes: 8192)
    let devices = (0..<2).map { _ in
      BlockOverlay(Contents(bytes: [UInt8](repeating: 0, count: 12_288)), budget: budget)
    }
    try devices[0].write([1], at: 0)
    try devices[1].write([1], at: 5000)
    #expect(throws: BlockError.overlayFull) { try devices[0].write([1], at: 4096) }
    #expect(throws: BlockError.overlayFull) { try devices[1].write([1, 2], at: 8191) }
    try devices[0].write([2], at: 4095)
    #expect(try devices[0].read(at: 4095, count: 2) == [2, 0])
  }

  @Test func whatCannotBeReadIsAnError() {
    let overlay = BlockOverlay(
      Contents(bytes: [1, 2, 3], isReadable: false), budget: OverlayBudget(bytes: 8192))
    #expect(throws: BlockError.unreadable) { try overlay.read(at: 0, count: 1) }
    #expect(throws: BlockError.unreadable) { try overlay.write([1], at: 0) }
  }
}

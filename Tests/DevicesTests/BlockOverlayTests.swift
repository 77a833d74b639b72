import GuestMemory
import TestSupport
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

/// Devices that share what they may keep.
private func overlays(_ contents: [Contents], limit: UInt64) throws -> (OverlayMemory, [BlockOverlay]) {
  let memory = try OverlayMemory(OverlayMemory.Size(capacities: contents.map(\.count), limitBytes: limit))
  var next: UInt64 = 0
  let devices = contents.map { contents in
    defer { next += OverlayMemory.chunkCount(contents.count) }
    return BlockOverlay(contents, memory: memory, firstChunk: next)
  }
  return (memory, devices)
}

struct BlockOverlayTests {
  @Test func readsWhatWasWrittenAndElseWhatItHeld() throws {
    var random = SeededGenerator(for: "BlockOverlayTests.reads")
    for size in [1, 512, 4096, 4097, 20_000] {
      let base = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
      let overlay = try overlays([Contents(bytes: base)], limit: 1 << 20).1[0]
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
  func rangesOutsideAreRefused(offset: UInt64, count: Int) throws {
    let overlay = try overlays([Contents(bytes: [UInt8](repeating: 0, count: 8192))], limit: 8192).1[0]
    #expect(throws: BlockError.outOfRange) { try overlay.read(at: offset, count: count) }
    #expect(throws: BlockError.outOfRange) { try overlay.write([UInt8](repeating: 1, count: count), at: offset) }
  }

  /// What one device has taken another does not get, and what is kept once may be written again.
  @Test func allDevicesShareWhatTheyMayKeep() throws {
    let empty = Contents(bytes: [UInt8](repeating: 0, count: 12_288))
    let (_, devices) = try overlays([empty, empty], limit: 8192)
    try devices[0].write([1], at: 0)
    try devices[1].write([1], at: 5000)
    #expect(throws: BlockError.overlayFull) { try devices[0].write([1], at: 4096) }
    #expect(throws: BlockError.overlayFull) { try devices[1].write([1, 2], at: 8191) }
    try devices[0].write([2], at: 4095)
    #expect(try devices[0].read(at: 4095, count: 2) == [2, 0])
  }

  @Test func whatCannotBeReadIsAnError() throws {
    let overlay = try overlays([Contents(bytes: [1, 2, 3], isReadable: false)], limit: 8192).1[0]
    #expect(throws: BlockError.unreadable) { try overlay.read(at: 0, count: 1) }
    #expect(throws: BlockError.unreadable) { try overlay.write([1], at: 0) }
  }

  @Test func whatIsForgottenOrGivenBackIsTheFirstContentsAgain() throws {
    let (memory, devices) = try overlays([Contents(bytes: [1, 2, 3])], limit: 4096)
    try devices[0].write([9], at: 1)
    #expect(try devices[0].read(at: 0, count: 3) == [1, 9, 3])
    memory.discard()
    #expect(try devices[0].read(at: 0, count: 3) == [1, 2, 3])
    try devices[0].write([8], at: 0)
    #expect(try devices[0].read(at: 0, count: 3) == [8, 2, 3])
    memory.unmap()
    #expect(try devices[0].read(at: 0, count: 3) == [1, 2, 3])
    #expect(throws: BlockError.overlayFull) { try devices[0].write([8], at: 0) }
  }

  /// One byte in each 4 KiB is the dearest way to write: even that stays within the size that is known beforehand.
  @Test func sparseWritesTouchNoMoreThanTheSizeSays() throws {
    let disk = Contents(bytes: [UInt8](repeating: 0, count: 16 << 20))
    let size = OverlayMemory.Size(capacities: [disk.count], limitBytes: 4 << 20)
    #expect(size.slots == 1024 && size.bytes == (4 << 20) + 16_384)
    let (memory, devices) = try overlays([disk], limit: 4 << 20)
    defer { memory.unmap() }
    var kept = 0
    for chunk in 0..<4096 as Range<UInt64> where (try? devices[0].write([1], at: chunk * 4096)) != nil { kept += 1 }
    #expect(kept == 1024)
    #expect(try devices[0].read(at: 1023 * 4096, count: 2) == [1, 0])
  }
}

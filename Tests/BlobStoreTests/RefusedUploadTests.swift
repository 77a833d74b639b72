import Foundation
import Synchronization
import Testing

@testable import BlobStore
@testable import Digests

/// Nothing stays of an upload that was refused, and nothing else goes.
struct RefusedUploadTests {
  private let scratch: Scratch
  private let content = bytes(100_000)
  private var digest: SHA256Digest { SHA256Digest(of: content) }

  init() throws { scratch = try Scratch() }

  private func opened(_ limits: BlobLimits = BlobLimits()) throws -> BlobRepository {
    try BlobRepository(directory: scratch.blobs, limits: limits)
  }

  private func expectNothing(_ store: BlobRepository) {
    store.waitForTrash()
    #expect(scratch.partial.isEmpty && scratch.whole.isEmpty)
    #expect(store.usedBytes == 0)
    #expect(store.partialSize(of: digest) == nil)
  }

  @Test(arguments: [false, true]) func moreThanAnnounced(isNamed: Bool) throws {
    let store = try opened()
    do {
      let upload = try store.begin(isNamed ? digest : nil, announced: 50_000)
      try upload.write(content.prefix(40_000))
      #expect(throws: BlobStoreError.tooLong(announced: 50_000)) { try upload.write(content.dropFirst(40_000)) }
    }
    expectNothing(store)
  }

  /// What an earlier part has brought is kept, and nothing of this one.
  @Test(arguments: [16_000, 50_000]) func aPartOfAnotherLength(came: Int) throws {
    var store = try opened()
    try store.begin(digest, announced: 30_000, of: content.count).finishing(content.prefix(30_000))
    #expect(store.partialSize(of: digest) == 30_000)
    do {
      let upload = try store.begin(digest, at: 30_000, announced: 20_000, of: content.count)
      #expect(throws: BlobStoreError.self) {
        try upload.write(content.dropFirst(30_000).prefix(15_000))
        try upload.finishing(content.dropFirst(45_000).prefix(came - 15_000))
      }
    }
    #expect(store.partialSize(of: digest) == 30_000)
    #expect(store.usedBytes == 30_000)
    store = try opened()
    #expect(store.partialSize(of: digest) == 30_000)
    let rest = try store.begin(digest, at: 30_000, announced: 70_000, of: content.count)
    try rest.write(content.dropFirst(30_000))
    #expect(try rest.finish() == (digest, true))
    #expect(try store.contents(digest) == content)
  }

  /// A connection that breaks is another matter: what came can be continued.
  @Test func aPartThatWasCutIsKept() throws {
    let store = try opened()
    try store.begin(digest, announced: 50_000, of: content.count).write(content.prefix(10_000))
    #expect(store.partialSize(of: digest) == 10_000)
  }

  @Test func thePartsOfAnUploadAreOfOneWhole() throws {
    let store = try opened()
    try store.begin(digest, announced: content.count).write(content.prefix(4000))
    for other in [99_000, 110_000] {
      #expect(throws: BlobStoreError.otherTotal(other, was: 100_000)) {
        try store.begin(digest, at: 4000, announced: 1000, of: other)
      }
      #expect(store.partialSize(of: digest) == 4000)
    }
    let upload = try store.begin(digest, at: 4000, announced: 96_000, of: 100_000)
    try upload.write(content.dropFirst(4000))
    #expect(try upload.finish() == (digest, true))
  }

  @Test func theWholeMustHaveRoom() throws {
    let store = try opened(BlobLimits(blobBytes: 60_000, totalBytes: 80_000))
    try store.put(bytes(30_000, seed: 9))
    #expect(throws: BlobStoreError.tooLarge(limit: 60_000)) { try store.begin(digest, announced: 1, of: 60_001) }
    #expect(throws: BlobStoreError.quotaUsedUp(limit: 80_000)) { try store.begin(digest, announced: 1, of: 50_001) }
    #expect(store.usedBytes == 30_000)
  }

  /// Deleting others would not help, and is not advised.
  @Test func whatIsLargerThanAllTogetherMayBeIsTooLarge() throws {
    let store = try opened(BlobLimits(blobBytes: 60_000, totalBytes: 50_000))
    #expect(throws: BlobStoreError.tooLarge(limit: 50_000)) { try store.begin(digest, announced: 1, of: 50_001) }
    let upload = try store.begin(nil, announced: nil)
    #expect(throws: BlobStoreError.tooLarge(limit: 50_000)) { try upload.write(bytes(50_001)) }
    #expect(store.usedBytes == 0)
  }

  // MARK: Examination

  @Test(arguments: [1, 99, 100, 101, 5000]) func theFirstBytesDecide(piece: Int) throws {
    let store = try opened()
    let seen = Mutex<[[UInt8]]>([])
    let examination = BlobExamination(count: 100) { head in
      seen.withLock { $0.append(head) }
      return "not this"
    }
    do {
      let upload = try store.begin(nil, announced: content.count, examination: examination)
      #expect(throws: BlobStoreError.refused("not this")) { try upload.write(content, piece: piece) }
      #expect(upload.size <= 100 + piece)
    }
    #expect(seen.withLock { $0 } == [Array(content.prefix(100))])
    expectNothing(store)
  }

  @Test func aShortBlobIsExaminedAtItsEnd() throws {
    let store = try opened()
    let upload = try store.begin(nil, announced: 10, examination: BlobExamination(count: 100) { "\($0)" })
    try upload.write(content.prefix(10))
    #expect(throws: BlobStoreError.refused("\(Array(content.prefix(10)))")) { try upload.finish() }
    expectNothing(store)
  }

  @Test func whatIsNotRefusedIsTaken() throws {
    let store = try opened()
    let upload = try store.begin(digest, announced: nil, examination: BlobExamination(count: 100) { _ in nil })
    try upload.write(content, piece: 30)
    #expect(try upload.finish() == (digest, true))
  }
}

extension BlobUpload {
  fileprivate func finishing(_ bytes: ArraySlice<UInt8>) throws {
    try write(bytes)
    try finishPart()
  }
}

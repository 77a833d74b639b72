import Dispatch
import Foundation
import Glibc
import Synchronization
import SystemPackage
import Testing

@testable import BlobStore
@testable import Digests

struct BlobRepositoryTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func opened(_ limits: BlobLimits = BlobLimits()) throws -> BlobRepository {
    try BlobRepository(directory: scratch.blobs, limits: limits)
  }

  @Test func whatWasPutIsThereAndOutlivesTheStore() throws {
    let content = bytes(300_000)
    let digest = SHA256Digest(of: content)
    do {
      let store = try opened()
      #expect(throws: BlobStoreError.noSuchBlob(digest)) { try store.size(of: digest) }
      let upload = try store.begin(digest, announced: content.count)
      try upload.write(content)
      #expect(throws: BlobStoreError.noSuchBlob(digest)) { try store.open(digest) }
      #expect(try upload.finish() == (digest, true))
      #expect(try store.contents(digest) == content)
    }
    let store = try opened()
    #expect(store.blobs.map(\.digest) == [digest])
    #expect(store.blobs.map(\.size) == [content.count])
    #expect(store.blobs.map(\.damage) == [nil])
    #expect(try store.contents(digest) == content)
    #expect(store.usedBytes == content.count)
    #expect(scratch.partial.isEmpty)
  }

  @Test func anUploadOfUnknownHashAndLengthIsNamedByWhatCame() throws {
    let store = try opened()
    let content = bytes(5_000_000)
    let upload = try store.begin(nil, announced: nil)
    try upload.write(content, piece: 65_536)
    #expect(store.usedBytes >= content.count)
    #expect(try upload.finish() == (SHA256Digest(of: content), true))
    #expect(store.usedBytes == content.count)
    #expect(try store.contents(SHA256Digest(of: content)) == content)
  }

  @Test(arguments: [0, nil]) func nothingIsNoBlob(announced: Int?) throws {
    let store = try opened()
    #expect(throws: BlobStoreError.empty) {
      _ = try store.begin(SHA256Digest(of: []), announced: announced).finish()
    }
    store.waitForTrash()
    #expect(scratch.partial.isEmpty && scratch.whole.isEmpty)
    #expect(store.usedBytes == 0)
  }

  @Test func otherBytesThanPromisedLeaveNothing() throws {
    let store = try opened()
    let (promised, sent) = (SHA256Digest(of: [1]), bytes(10_000))
    let upload = try store.begin(promised, announced: sent.count)
    try upload.write(sent)
    #expect(throws: BlobStoreError.digestMismatch(expected: promised, found: SHA256Digest(of: sent))) {
      try upload.finish()
    }
    store.waitForTrash()
    #expect(scratch.partial.isEmpty && scratch.whole.isEmpty)
    #expect(store.usedBytes == 0)
    #expect(store.partialSize(of: promised) == nil)
  }

  // MARK: Interrupted uploads

  @Test(arguments: [false, true]) func anInterruptedUploadGoesOn(afterARestart: Bool) throws {
    let content = bytes(100_000)
    let digest = SHA256Digest(of: content)
    var store = try opened()
    do {
      let upload = try store.begin(digest, announced: content.count)
      try upload.write(content.prefix(60_000))
    }
    if afterARestart { store = try opened() }
    #expect(store.partialSize(of: digest) == 60_000)
    #expect(store.usedBytes == 60_000)
    for wrong in [1, 59_999, 60_001, 100_000] {
      #expect(throws: BlobStoreError.wrongOffset(60_000)) { try store.begin(digest, at: wrong, announced: 1) }
    }
    let upload = try store.begin(digest, at: 60_000, announced: 40_000)
    try upload.write(content.dropFirst(60_000))
    #expect(try upload.finish() == (digest, true))
    #expect(try store.contents(digest) == content)
    #expect(scratch.partial.isEmpty)
    #expect(store.usedBytes == content.count)
  }

  @Test func anUploadThatBeginsAnewForgetsWhatWasThere() throws {
    let store = try opened()
    let content = bytes(50_000)
    let digest = SHA256Digest(of: content)
    try store.begin(digest, announced: 50_000).write(bytes(49_000, seed: 9))
    let upload = try store.begin(digest, announced: 50_000)
    try upload.write(content)
    #expect(try upload.finish() == (digest, true))
    #expect(try store.contents(digest) == content)
  }

  @Test func whatCannotBeContinuedIsRemovedAtOnce() throws {
    let store = try opened()
    try store.begin(nil, announced: 5000).write(bytes(1000))
    _ = try store.begin(SHA256Digest(of: [1]), announced: 5000)
    store.waitForTrash()
    #expect(scratch.partial.isEmpty)
    #expect(store.usedBytes == 0)
  }

  @Test func whatIsLeftBehindIsSweptAtTheStart() throws {
    do { _ = try opened() }
    let partial = scratch.blobs + "/partial/"
    let kept = SHA256Digest(of: [7])
    for (name, size) in [("upload-3", 10), ("trash-1", 10), (kept.hex, 10), (SHA256Digest(of: [8]).hex, 0), ("x", 1)] {
      try Data(count: size).write(to: URL(filePath: partial + name))
    }
    try FileManager.default.createDirectory(atPath: partial + "folder", withIntermediateDirectories: false)
    let store = try opened()
    #expect(Set(scratch.partial).subtracting(["folder"]) == [kept.hex])
    #expect(store.partialSize(of: kept) == 10)
  }

  @Test func interruptedUploadsAreBoundedInNumberAndAge() throws {
    let store = try opened(BlobLimits(partials: 3))
    let digests = (0..<5).map { SHA256Digest(of: [UInt8($0)]) }
    for digest in digests {
      try store.begin(digest, announced: 100).write(bytes(10))
      usleep(2000)
    }
    #expect(digests.map { store.partialSize(of: $0) } == [nil, nil, 10, 10, 10])
    store.waitForTrash()
    #expect(scratch.partial.count == 3)
    #expect(try opened(BlobLimits(partials: 2)).usedBytes == 20)
    #expect(try opened(BlobLimits(partialAgeMS: 0)).usedBytes == 0)
  }

  // MARK: Limits

  @Test func aBlobIsLimited() throws {
    let store = try opened(BlobLimits(blobBytes: 10_000))
    let large = BlobStoreError.tooLarge(limit: 10_000)
    #expect(throws: large) { try store.begin(nil, announced: 10_001) }
    #expect(throws: large) { try store.begin(SHA256Digest(of: []), at: 9000, announced: 1001) }
    #expect(throws: large) { try store.begin(nil, announced: .max) }
    #expect(throws: large) { try store.begin(SHA256Digest(of: []), at: .max, announced: .max) }
    let beyond = try store.begin(nil, announced: nil)
    try beyond.write(bytes(10_000))
    #expect(throws: large) { try beyond.write([1]) }
    #expect(store.usedBytes == 0)
    let upload = try store.begin(nil, announced: nil)
    try upload.write(bytes(10_000))
    #expect(try upload.finish().digest == SHA256Digest(of: bytes(10_000)))
  }

  @Test func allBlobsTogetherAreLimited() throws {
    let store = try opened(BlobLimits(blobBytes: 100_000, totalBytes: 100_000))
    let used = BlobStoreError.quotaUsedUp(limit: 100_000)
    func announced(_ bytes: Int) -> BlobStoreError { .roomAnnounced(bytes: bytes, limit: 100_000) }
    let first = try store.put(bytes(60_000))
    #expect(throws: used) { try store.begin(nil, announced: 40_001) }
    do {
      let upload = try store.begin(nil, announced: 40_000)
      // What is announced counts.
      #expect(throws: announced(40_000)) { try store.begin(nil, announced: 1) }
      try upload.write(bytes(1))
    }
    do {
      let upload = try store.begin(nil, announced: nil)
      #expect(throws: used) { try upload.write(bytes(40_001), piece: 40_001) }
    }
    #expect(store.usedBytes == 60_000)
    // Interrupted uploads make room for others, those that are being written do not.
    let (idle, busy) = (SHA256Digest(of: [1]), SHA256Digest(of: [2]))
    try store.begin(idle, announced: 20_000).write(bytes(20_000))
    let upload = try store.begin(busy, announced: 10_000)
    #expect(throws: announced(10_000)) { try store.begin(nil, announced: 30_001) }
    #expect(store.partialSize(of: idle) == 20_000)
    let last = try store.begin(nil, announced: 30_000)
    #expect(store.partialSize(of: idle) == nil)
    #expect(store.usedBytes == 100_000)
    last.discard()
    upload.discard()
    try store.delete(first)
    #expect(store.usedBytes == 0)
  }

  /// What an upload has itself does not come back before it ends.
  @Test func anUploadThatGrowsDoesNotWaitForItself() throws {
    let mib = 1 << 20
    let store = try opened(BlobLimits(blobBytes: 6 * mib, totalBytes: 6 * mib))
    try store.put(bytes(1000))
    let upload = try store.begin(nil, announced: nil)
    let more = [UInt8](repeating: 1, count: 4 * mib + 1)
    #expect(throws: BlobStoreError.quotaUsedUp(limit: 6 * mib)) { try upload.write(more, piece: 4 * mib) }
  }

  // MARK: Deleting

  @Test func aDeletedBlobCanStillBeReadByWhoHasIt() throws {
    let store = try opened()
    let content = bytes(10_000)
    let digest = try store.put(content)
    let file = try store.open(digest)
    try store.delete(digest)
    #expect(throws: BlobStoreError.noSuchBlob(digest)) { try store.delete(digest) }
    #expect(throws: BlobStoreError.noSuchBlob(digest)) { try store.open(digest) }
    store.waitForTrash()
    #expect(scratch.partial.isEmpty && scratch.whole.isEmpty)
    var read = [UInt8](repeating: 0, count: content.count)
    var span = read.mutableSpan
    var target = unsafe span.mutableBytes
    #expect(try file.read(at: 0, into: &target) == content.count)
    #expect(read == content)
    #expect(try store.put(content) == digest)
  }

  // MARK: Damage

  @Test func damageIsSeenAtTheStartAndMendedByAnotherUpload() throws {
    let content = bytes(10_000)
    var (changed, shorter, touched, gone) = (content, content, content, content)
    changed[0] = 1
    (shorter[0], touched[0], gone[0]) = (2, 3, 4)
    let all = [changed, shorter, touched, gone]
    let digests = try {
      let store = try opened(); return try all.map { try store.put($0) }
    }()
    let paths = digests.map { scratch.blobs + "/" + $0.hex }
    for path in paths { try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path) }
    let file = try FileHandle(forWritingTo: URL(filePath: paths[0]))
    try file.seek(toOffset: 5000)
    try file.write(contentsOf: Data([0xFF]))
    try FileHandle(forWritingTo: URL(filePath: paths[1])).truncate(atOffset: 9999)
    try FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: paths[2])
    try FileManager.default.removeItem(atPath: paths[3])

    let store = try opened()
    for digest in digests.prefix(2) {
      let error = #expect(throws: BlobStoreError.self) { try store.open(digest) }
      guard case .damaged(let found, _) = error else { Issue.record("\(String(describing: error))"); continue }
      #expect(found == digest)
    }
    #expect(try store.contents(digests[2]) == touched)
    #expect(throws: BlobStoreError.noSuchBlob(digests[3])) { try store.open(digests[3]) }
    for content in all { try store.put(content) }
    for (digest, content) in zip(digests, all) { #expect(try store.contents(digest) == content) }
    #expect(try opened().blobs.allSatisfy { $0.damage == nil })
  }

  @Test func damageDoneMeanwhileIsSeenWhenABlobIsOpened() throws {
    let store = try opened()
    let digest = try store.put(bytes(1000))
    let path = scratch.blobs + "/" + digest.hex
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    try FileHandle(forWritingTo: URL(filePath: path)).truncate(atOffset: 1)
    let error = #expect(throws: BlobStoreError.self) { try store.open(digest) }
    guard case .damaged = error else { Issue.record("\(String(describing: error))"); return }
  }

  @Test func whatIsNoFileIsDamaged() throws {
    let digest = SHA256Digest(of: [])
    do { _ = try opened() }
    try FileManager.default.createDirectory(
      atPath: scratch.blobs + "/" + digest.hex, withIntermediateDirectories: false)
    let other = SHA256Digest(of: [1])
    try FileManager.default.createSymbolicLink(
      atPath: scratch.blobs + "/" + other.hex, withDestinationPath: "/etc/passwd")
    let store = try opened()
    #expect(store.blobs.count == 2 && store.blobs.allSatisfy { $0.damage != nil })
    #expect(throws: BlobStoreError.self) { try store.open(other) }
  }

  // MARK: At the same time

  @Test func identicalUploadsAtTheSameTimeMakeOneBlob() throws {
    let store = try opened()
    let content = bytes(200_000)
    let digest = SHA256Digest(of: content)
    let uploads = try (0..<8).map { _ in try store.begin(digest, announced: content.count) }
    #expect(throws: BlobStoreError.uploadInProgress(digest)) { try store.begin(digest, at: 1, announced: 1) }
    #expect(store.partialSize(of: digest) == nil)
    DispatchQueue.concurrentPerform(iterations: 8) { index in
      #expect(throws: Never.self) {
        try uploads[index].write(content)
        #expect(try uploads[index].finish().digest == digest)
      }
    }
    store.waitForTrash()
    #expect(try store.contents(digest) == content)
    #expect(scratch.partial.isEmpty && scratch.whole == [digest.hex])
    #expect(store.usedBytes == content.count)
  }

  @Test func theFirstOfTwoUploadsMayBeInterruptedAndTheOtherMakesTheBlob() throws {
    let store = try opened()
    let content = bytes(10_000)
    let digest = SHA256Digest(of: content)
    let first = try store.begin(digest, announced: content.count)
    let second = try store.begin(digest, announced: content.count)
    try first.write(content.prefix(100))
    try second.write(content)
    first.suspend()
    #expect(store.partialSize(of: digest) == 100)
    #expect(try second.finish() == (digest, true))
    #expect(try store.contents(digest) == content)
    #expect(store.usedBytes == content.count)
    store.waitForTrash()
    #expect(scratch.partial.isEmpty)
  }

  /// The lock is not recursive: where a step came under it, this process would end.
  @Test func nothingTouchesTheDiskUnderTheLockThatRequestsNeed() throws {
    let looker = Mutex<BlobRepository?>(nil)
    let steps = Mutex<Set<BlobDirectory.Step>>([])
    let store = try BlobRepository(directory: scratch.blobs, limits: BlobLimits(partials: 1)) { step throws(Errno) in
      guard let store = looker.withLock({ $0 }) else { return }
      _ = store.usedBytes
      steps.withLock { _ = $0.insert(step) }
    }
    looker.withLock { $0 = store }
    let digest = try store.put(bytes(1000))
    for seed in 2..<5 { try store.begin(SHA256Digest(of: [UInt8(seed)]), announced: 100).write(bytes(10)) }
    try store.begin(SHA256Digest(of: [4]), announced: 100).write(bytes(20))
    #expect(throws: BlobStoreError.self) { try store.begin(nil, announced: 1).write(bytes(2)) }
    store.endAwaiting([digest])
    try store.delete(digest)
    store.waitForTrash()
    looker.withLock { $0 = nil }
    #expect(steps.withLock { $0 } == Set(BlobDirectory.Step.allCases))
    #expect(scratch.partial.count == 1 && scratch.whole.isEmpty)
  }

  @Test func aPipeInThePlaceOfABlobIsDamageAndNothingWaitsForIt() throws {
    do { _ = try opened() }
    let digest = SHA256Digest(of: [1])
    // Safe: the path lives for the call.
    try #require(unsafe mkfifo(scratch.blobs + "/" + digest.hex, 0o600) == 0)
    #expect(try opened().blobs.first?.damage != nil)
  }

  // MARK: Full disks and directories

  @Test(.enabled(if: SmallFileSystem.allowed, "mounting a tmpfs needs root"))
  func aFullDiskIsSaidAndLeavesNothing() throws {
    let disk = try SmallFileSystem("size=512k")
    let store = try BlobRepository(directory: disk.path + "/blobs")
    let small = try store.put(bytes(100_000))
    let large = bytes(1 << 20)
    do {
      let upload = try store.begin(SHA256Digest(of: large), announced: large.count)
      let error = #expect(throws: BlobStoreError.self) { try upload.write(large) }
      guard case .diskFull(let path, _) = error else { Issue.record("\(String(describing: error))"); return }
      #expect(path == disk.path + "/blobs")
      upload.discard()
    }
    store.waitForTrash()
    #expect(try store.contents(small) == bytes(100_000))
    #expect(store.usedBytes == 100_000)
    try store.put(bytes(200_000, seed: 3))
  }

  @Test func aStoreWithoutADirectoryLeavesNothing() throws {
    let store = try BlobRepository(directory: nil)
    let path = store.directory.path
    let digest = try store.put(bytes(1000))
    #expect(try store.contents(digest) == bytes(1000))
    #expect(FileManager.default.fileExists(atPath: path))
    store.close()
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func aDirectoryThatCannotBeMadeIsSaid() throws {
    let error = #expect(throws: BlobStoreError.self) { try BlobRepository(directory: scratch.path + "/missing/blobs") }
    guard case .failed(let path, _) = error else { Issue.record("\(String(describing: error))"); return }
    #expect(path == scratch.path + "/missing/blobs")
  }
}

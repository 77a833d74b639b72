import Foundation
import Testing

@testable import BlobStore
@testable import Digests

/// Blobs that clients put to store images of them do not go with the images of others.
struct AwaitedBlobTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func opened() throws -> BlobRepository { try BlobRepository(directory: scratch.blobs) }

  /// Each of them after a restart, too.
  @Test(arguments: [false, true]) func anAwaitedBlobGoesOnlyWhereItIsDeletedByName(afterARestart: Bool) throws {
    var store = try opened()
    func goOn() throws { if afterARestart { store = try opened() } }
    let digest = try store.put(bytes(1000))
    try goOn()
    #expect(try !store.delete(digest, unlessAwaited: true))
    store.endAwaiting([digest, SHA256Digest(of: [9])])
    try goOn()
    #expect(try store.markAwaited(digest) == 1000)
    try goOn()
    #expect(try !store.delete(digest, unlessAwaited: true))
    store.endAwaiting([digest])
    try goOn()
    #expect(try store.contents(digest) == bytes(1000))
    #expect(try store.delete(digest, unlessAwaited: true))
    #expect(throws: BlobStoreError.noSuchBlob(digest)) { try store.markAwaited(digest) }
    try store.delete(store.put(bytes(1000)))
    #expect(store.usedBytes == 0)
  }

  /// An upload of unknown hash is an image's own.
  @Test func anImagesOwnBlobIsNotAwaitedAndLeavesAnInterruptedUploadOfIt() throws {
    let store = try opened()
    let content = bytes(10_000)
    let digest = SHA256Digest(of: content)
    let busy = try store.begin(digest, announced: content.count)
    try busy.write(content.prefix(100))
    for isInterrupted in [false, true] {
      if isInterrupted { busy.suspend() }
      let upload = try store.begin(nil, announced: nil)
      try upload.write(content)
      #expect(try upload.finish() == (digest, true))
      #expect(try store.delete(digest, unlessAwaited: true))
    }
    #expect(store.partialSize(of: digest) == 100)
    // A client that learns that the blob is there has no use for it.
    let last = try store.begin(nil, announced: nil)
    try last.write(content)
    _ = try last.finish()
    _ = try store.markAwaited(digest)
    #expect(store.partialSize(of: digest) == nil)
    #expect(store.usedBytes == content.count)
  }

  @Test func aMarkDoesNotHideDamage() throws {
    let store = try opened()
    let digest = try store.put(bytes(1000))
    let path = scratch.blobs + "/" + digest.hex
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    try FileHandle(forWritingTo: URL(filePath: path)).truncate(atOffset: 1)
    store.endAwaiting([digest])
    #expect(throws: BlobStoreError.self) { try store.open(digest) }
    #expect(try opened().blobs.first?.damage != nil)
  }
}

import Foundation
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import BlobStore
@testable import Digests

/// The process ends, or the kernel says no, at every step of a blob's way.
struct CrashTests {
  private static let content = bytes(50_000)
  private static let other = bytes(40_000, seed: 5)

  /// What a process does that ends somewhere in it: one blob put, another put and deleted.
  private static func work(_ store: BlobRepository) throws {
    try store.put(content)
    let digest = try store.put(other)
    try store.delete(digest)
    store.waitForTrash()
  }

  @Test(arguments: BlobDirectory.Step.allCases, [1, 2])
  func aKillLeavesWholeBlobsOrNone(step: BlobDirectory.Step, time: Int) async throws {
    let scratch = try Scratch()
    let (directory, name) = (scratch.blobs, step.rawValue)
    let result = await #expect(processExitsWith: .signal(SIGKILL)) {
      [directory = directory as String, name = name as String, time = time as Int] in
      let count = Atomic(0)
      let store = try BlobRepository(directory: directory, limits: BlobLimits()) { step throws(Errno) in
        if step.rawValue == name, count.add(1, ordering: .relaxed).newValue == time { kill(getpid(), SIGKILL) }
      }
      try CrashTests.work(store)
      // A step that comes but once: there is no second time.
      kill(getpid(), SIGKILL)
    }
    #expect(result != nil)
    try check(scratch)
  }

  /// What must hold whenever the process ended.
  private func check(_ scratch: Scratch) throws {
    let store = try BlobRepository(directory: scratch.blobs)
    store.waitForTrash()
    for blob in store.blobs {
      #expect(blob.damage == nil)
      #expect([SHA256Digest(of: Self.content), SHA256Digest(of: Self.other)].contains(blob.digest))
      #expect(SHA256Digest(of: try store.contents(blob.digest)) == blob.digest)
    }
    // Nothing is left but whole blobs and uploads that can be continued.
    #expect(scratch.partial.allSatisfy { SHA256Digest(hex: String($0.prefix { $0 != "-" })) != nil })
    // And everything goes on.
    for content in [Self.content, Self.other] {
      let digest = SHA256Digest(of: content)
      let offset = store.partialSize(of: digest) ?? 0
      if (try? store.size(of: digest)) != nil { continue }
      let upload = try store.begin(digest, at: offset, announced: content.count - offset)
      try upload.write(content.dropFirst(offset))
      #expect(try upload.finish().digest == digest)
    }
    store.waitForTrash()
    #expect(scratch.partial.isEmpty)
    #expect(store.usedBytes == Self.content.count + Self.other.count)
  }

  @Test(arguments: BlobDirectory.Step.allCases, [Errno.ioError, .noSpace])
  func aCallThatFailsLeavesWholeBlobsOrNone(step: BlobDirectory.Step, errno: Errno) throws {
    let scratch = try Scratch()
    let fails = Atomic(true)
    do {
      let store = try BlobRepository(directory: scratch.blobs, limits: BlobLimits()) { now throws(Errno) in
        if now == step, fails.load(ordering: .relaxed) { throw errno }
      }
      // Where something is to be removed, there is somebody to tell only if it is a blob.
      if step == .unlink { try Self.work(store) } else { #expect(throws: BlobStoreError.self) { try Self.work(store) } }
      fails.store(false, ordering: .relaxed)
      // The same store goes on.
      try Self.work(store)
      #expect(store.usedBytes == Self.content.count)
    }
    try check(scratch)
  }

  /// A process is killed at a time of no significance, again and again.
  @Test func killsAtRandom() async throws {
    var generator = SeededGenerator(for: "killsAtRandom")
    let scratch = try Scratch()
    for _ in 0..<20 {
      let lifetimeUS = UInt32.random(in: 0...30_000, using: &generator)
      await #expect(processExitsWith: .signal(SIGKILL)) {
        [directory = scratch.blobs as String, lifetimeUS = lifetimeUS as UInt32] in
        let store = try BlobRepository(directory: directory)
        Thread.detachNewThread {
          usleep(lifetimeUS)
          kill(getpid(), SIGKILL)
        }
        while true {
          try CrashTests.work(store)
          try store.delete(SHA256Digest(of: CrashTests.content))
        }
      }
      try check(scratch)
    }
  }
}

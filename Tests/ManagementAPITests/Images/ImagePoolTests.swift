import APIModel
import BlobStore
import Control
import Digests
import Foundation
import StateStore
import TestSupport
import Testing

@testable import ManagementAPI

/// Images that pools are made of, and what is left of them after a restart.
struct ImagePoolTests {
  private let flat = "kind=flat&mode=long64"

  private func bytes(_ seed: UInt8, _ count: Int = 100) -> [UInt8] { [UInt8](repeating: seed, count: count) }

  private func pool(_ harness: Harness, _ name: String = "build") throws -> PoolDocument {
    try harness.send("GET", "/v1/pools/\(name)").document(PoolDocument.self)
  }

  @Test func aPoolHoldsItsImage() throws {
    let harness = Harness(factory: StubFactory())
    #expect(harness.send("PUT", "/v1/images/tool?\(flat)", bytes: bytes(1)).status == 201)
    #expect(harness.send("PUT", "/v1/pools/build", #"{"image": "tool", "ready": 2}"#).status == 201)
    #expect(try harness.wait(forReady: 2, in: "build").image == "tool")
    let refused = harness.send("DELETE", "/v1/images/tool")
    #expect(refused.problem?.kind == "image-in-use")
    #expect(refused.problem?.detail.contains("build") == true)
    #expect(harness.send("DELETE", "/v1/pools/build").status == 204)
    #expect(harness.send("DELETE", "/v1/images/tool").status == 204)
  }

  @Test func poolsGoOverToAnImageThatIsReplaced() throws {
    let harness = Harness(factory: StubFactory())
    harness.send("PUT", "/v1/images/tool?\(flat)", bytes: bytes(1))
    harness.send("PUT", "/v1/pools/build", #"{"image": "tool", "ready": 2}"#)
    _ = try harness.wait(forReady: 2, in: "build")
    let before = Set(harness.fleet.vms(after: nil, limit: 10).vms.map(\.id))
    // The same bytes are no change.
    #expect(harness.send("PUT", "/v1/images/tool?\(flat)", bytes: bytes(1)).status == 200)
    #expect(Set(harness.fleet.vms(after: nil, limit: 10).vms.map(\.id)) == before)
    #expect(harness.send("PUT", "/v1/images/tool?\(flat)", bytes: bytes(2)).status == 200)
    let end = Date().addingTimeInterval(30)
    while Date() < end {
      let status = try pool(harness).status
      if status.outdated == 0, status.ready == 2, status.creating == 0, status.retiring == 0 { break }
      usleep(1000)
    }
    let after = harness.fleet.vms(after: nil, limit: 10).vms
    #expect(after.count == 2)
    #expect(before.isDisjoint(with: after.map(\.id)))
    for vm in after {
      let segment = try vm.machine.configuration.image.layout(memoryBytes: 2 << 20, vcpus: 1).segments.last
      #expect(try segment?.bytes() == bytes(2))
    }
  }

  @Test func anImageThatAPoolCannotRunIsRefused() throws {
    let harness = Harness(factory: StubFactory())
    harness.send("PUT", "/v1/images/tool?\(flat)", bytes: bytes(1))
    harness.send("PUT", "/v1/pools/build", #"{"image": "tool", "memory_mib": 1, "ready": 0}"#)
    let reply = harness.send("PUT", "/v1/images/tool?\(flat)", bytes: bytes(2, 1 << 20))
    #expect(reply.problem?.kind == "image-in-use")
    #expect(reply.problem?.detail.contains("build") == true)
    let image = try harness.send("GET", "/v1/images/tool").document(ImageDocument.self)
    #expect(image.digest == "\(SHA256Digest(of: bytes(1)))")
    #expect(harness.images.blobs.usedBytes == 100)
  }

  // MARK: Restarts

  /// What a server leaves behind that had an image `tool` with a pool `build`.
  private func life(_ directory: ScratchDirectory) throws -> (image: StoredImage, document: ImageDocument) {
    let harness = Harness(factory: StubFactory(), blobs: directory.path + "/blobs")
    #expect(harness.send("PUT", "/v1/images/tool?\(flat)", bytes: bytes(1)).status == 201)
    let entry = try #require(harness.images.entry("tool"))
    return (entry.stored, try harness.send("GET", "/v1/images/tool").document(ImageDocument.self))
  }

  private func declare(_ harness: Harness) throws {
    try harness.pools.recover(
      "build", document: Array(#"{"image": "tool", "ready": {"min": 1, "max": 1}}"#.utf8), revision: 1)
  }

  @Test func imagesComeBackBeforePools() throws {
    let directory = try ScratchDirectory()
    let (stored, document) = try life(directory)
    let harness = Harness(factory: StubFactory(), blobs: directory.path + "/blobs")
    #expect(try harness.images.recover(stored) == nil)
    try declare(harness)
    #expect(try harness.send("GET", "/v1/images/tool").document(ImageDocument.self) == document)
    _ = try harness.wait(forReady: 1, in: "build")
  }

  @Test(arguments: ["missing", "damaged"]) func anImageWithoutItsBytesIsUnusableUntilTheyComeAgain(what: String) throws
  {
    let directory = try ScratchDirectory()
    let (stored, document) = try life(directory)
    let path = directory.path + "/blobs/" + String(document.digest.dropFirst("sha256:".count))
    if what == "missing" {
      try FileManager.default.removeItem(atPath: path)
    } else {
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
      try Data([1, 2, 3]).write(to: URL(filePath: path))
    }
    let harness = Harness(factory: LayingOutFactory(), blobs: directory.path + "/blobs")
    #expect(try harness.images.recover(stored) != nil)
    try declare(harness)
    let image = try harness.send("GET", "/v1/images/tool").document(ImageDocument.self)
    #expect(image.state == "unusable" && image.kind == "flat")
    #expect(image.reason?.contains(document.digest) == true)
    #expect(harness.metrics()[#"vmpool_images{state="unusable"}"#] == 1)
    let refused = harness.send("POST", "/v1/vms", #"{"image": "tool"}"#)
    #expect(refused.problem?.pointer == "/image")
    #expect(refused.problem?.detail.contains(document.digest) == true)
    let end = Date().addingTimeInterval(30)
    while try pool(harness).status.refill.failures == 0, Date() < end { usleep(1000) }
    #expect(try pool(harness).status.refill.lastError?.contains(document.digest) == true)

    #expect(harness.send("PUT", "/v1/blobs/\(document.digest)", bytes: bytes(1)).status == 201)
    #expect(try harness.send("GET", "/v1/images/tool").document(ImageDocument.self) == document)
    let mended = try harness.wait(forReady: 1, in: "build")
    #expect(mended.status.refill.state == "ok")
  }
}

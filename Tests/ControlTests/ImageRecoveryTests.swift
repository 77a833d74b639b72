import BlobStore
import Digests
import StateStore
import Testing

@testable import Control

/// Images that were stored before the server started.
@Suite struct ImageRecoveryTests {
  private let images: ImageCatalogue

  init() throws { images = ImageCatalogue(blobs: try BlobRepository(directory: nil), journal: nil) }

  private func stored(_ manifest: String, kind: String = "flat") -> StoredImage {
    StoredImage(name: "tool", kind: kind, manifest: Array(manifest.utf8), createdAtMS: 7)
  }

  @Test(arguments: ["", "{}", "[1]", #"{"kernel": "x"}"#]) func whatCannotBeReadStaysAway(manifest: String) throws {
    #expect(throws: ImageRecoveryError.self) { try images.recover(stored(manifest)) }
    #expect(images.entry("tool") == nil)
  }

  @Test func aKindOfALaterReleaseStaysAway() throws {
    let manifest = #"{"kernel": "\#(SHA256Digest(of: []))"}"#
    #expect(throws: ImageRecoveryError.self) { try images.recover(stored(manifest, kind: "future")) }
    #expect(images.entry("tool") == nil)
  }

  @Test func anImageWithoutItsBlobIsThereAndUnusable() throws {
    let digest = SHA256Digest(of: [1])
    let failure = try images.recover(stored(#"{"kernel": "\#(digest)", "mode": "real16"}"#))
    #expect(failure?.detail.contains("\(digest)") == true)
    let entry = try #require(images.entry("tool"))
    #expect(entry.createdAtMS == 7 && entry.image.reasonUnusable?.contains("\(digest)") == true)
  }
}

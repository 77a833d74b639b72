import BlobStore
import Digests
import GuestImages
import Testing

@testable import Control

/// What stored images may take.
@Suite struct ImageCatalogueTests {
  private let images: ImageCatalogue
  private let kernel: SHA256Digest

  init() throws {
    images = ImageCatalogue(blobs: try BlobRepository(directory: nil), journal: nil)
    kernel = try images.blobs.put([0xF4])
  }

  /// Stores an image whose manifest has so many characters, each of which is six bytes of JSON.
  private func store(_ name: String, characters: Int) throws {
    var manifest = ImageManifest(kind: nil, kernel: kernel, flat: nil)
    manifest.commandLine = String(repeating: "\u{1}", count: characters)
    let entry = try StoredEntry(
      name: name, kind: .multiboot, manifest: manifest, createdAtMS: 0,
      image: .unusable(name: name, .multiboot, reason: ""))
    _ = try images.store(entry, if: { _ in }, by: .server)
  }

  @Test func allManifestsTogetherAreBounded() throws {
    let characters = 1 << 18
    for number in 0..<5 { try store("image-\(number)", characters: characters) }
    for name in ["another", "image-0"] {
      let refused = #expect(throws: ImageRefusal.self) { try store(name, characters: 2 * characters) }
      #expect(refused?.description == "the server keeps at most 8388608 bytes of images' manifests; delete some images")
    }
    // One in the place of another counts instead of that.
    try store("image-0", characters: characters)
    try images.delete("image-0", if: { _ in }, by: .server)
    try images.delete("image-1", if: { _ in }, by: .server)
    try store("another", characters: 2 * characters)
  }

  @Test func aBlobThatARequestHoldsGoesAfterIt() throws {
    try store("image", characters: 0)
    images.hold([kernel])
    images.hold([kernel])
    try images.delete("image", if: { _ in }, by: .server)
    images.release([kernel], by: .server)
    #expect(throws: Never.self) { try images.blobs.size(of: kernel) }
    images.release([kernel], by: .server)
    #expect(throws: BlobStoreError.self) { try images.blobs.size(of: kernel) }
  }

  @Test func aHeldBlobThatAnImageNamesStays() throws {
    try store("image", characters: 0)
    images.hold([kernel])
    try images.delete("image", if: { _ in }, by: .server)
    try store("image", characters: 0)
    images.release([kernel], by: .server)
    #expect(throws: Never.self) { try images.blobs.size(of: kernel) }
  }

  @Test func aBlobThatGoesBeforeItsImageIsStoredIsNamed() throws {
    let manifest = ImageManifest(kind: .flat, kernel: kernel, flat: FlatPlacement(mode: .real16))
    let entry = try images.prepared("image", manifest)
    try images.delete(kernel, by: .server)
    let refused = #expect(throws: ImageRefusal.self) { try images.store(entry, if: { _ in }, by: .server) }
    guard case .noSuchBlob(kernel, pointer: "/kernel") = refused else {
      Issue.record("\(String(describing: refused))")
      return
    }
  }
}

extension BlobRepository {
  fileprivate func put(_ bytes: [UInt8]) throws -> SHA256Digest {
    let upload = try begin(nil, announced: bytes.count)
    try unsafe upload.write(bytes.span.bytes)
    return try upload.finish().digest
  }
}

import Access
import BlobStore
import Digests
import GuestImages
import PoolManager

// Images that change under the pools which use them.

extension PoolDeclarations {
  /// Stores an image of blobs that clients put before, in the place of what has its name. The fleet then makes the VMs of pools
  /// that use the name out of the new image. Throws where one of the pools cannot run it.
  public func storeImage(
    _ manifest: ImageManifest, as name: String, if holds: Precondition, by origin: Origin
  ) throws(ImageRefusal) -> (entry: StoredEntry, isNew: Bool) {
    let stored = try store(manifest, as: name, if: holds, by: origin)
    images.blobs.endAwaiting(manifest.digests)
    return stored
  }

  private func store(
    _ manifest: ImageManifest, as name: String, if holds: Precondition, by origin: Origin
  ) throws(ImageRefusal) -> (entry: StoredEntry, isNew: Bool) {
    try images.check(name)
    images.hold(manifest.digests)
    defer { images.release(manifest.digests, by: origin) }
    let entry = try images.prepared(name, manifest)
    return try replace(name, with: entry.image) { () throws(ImageRefusal) in
      let quotaMiB = fleet.quotas(of: Tenant.split(name).tenant).imageMiB
      return try images.store(entry, quotaMiB: quotaMiB, if: holds, by: origin)
    }
  }

  /// Makes an upload the image of one part that `manifest` describes, but for its kernel. What makes no image leaves nothing.
  public func storeImage(
    _ upload: BlobUpload, describedBy manifest: ImageManifest, as name: String, if holds: Precondition,
    by origin: Origin
  ) throws(ImageRefusal) -> (entry: StoredEntry, isNew: Bool) {
    var manifest = manifest
    // Before the blob is there: where it is there already, it might go with the image that names it.
    var held: Set<SHA256Digest> = []
    defer { images.release(held, by: origin) }
    let (digest, isNew) = try finish(upload, by: origin) { digest in
      images.hold([digest])
      held = [digest]
    }
    manifest.kernel = digest
    do throws(ImageRefusal) {
      return try store(manifest, as: name, if: holds, by: origin)
    } catch {
      if isNew { images.remove([digest], by: origin) }
      throw error
    }
  }

  /// Deletes an image that no pool uses, and the blobs that nothing else names.
  public func deleteImage(_ name: String, if holds: Precondition, by origin: Origin) throws(ImageRefusal) {
    try images.check(name)
    try changes.withLock { _ throws(ImageRefusal) in
      let users = users(ofImage: name).map(\.pool)
      guard users.isEmpty else { throw .imageInUse(name, pools: users) }
      try images.delete(name, if: holds, by: origin)
    }
  }

  /// Makes an upload a blob. Images that lacked it become usable, and the pools that use them get VMs.
  public func finish(
    _ upload: BlobUpload, by origin: Origin
  ) throws(ImageRefusal) -> (digest: SHA256Digest, isNew: Bool) {
    try finish(upload, by: origin) { _ in }
  }

  private func finish(
    _ upload: BlobUpload, by origin: Origin, willPublish: (SHA256Digest) -> Void
  ) throws(ImageRefusal) -> (digest: SHA256Digest, isNew: Bool) {
    let result: (digest: SHA256Digest, isNew: Bool)
    do throws(BlobStoreError) { result = try upload.finish(willPublish: willPublish) } catch { throw .blob(error) }
    guard result.isNew else { return result }
    try images.note(result.digest, upload.size, by: origin)
    for entry in images.mended(by: result.digest) {
      try replace(entry.name, with: entry.image) { () throws(ImageRefusal) in images.replace(entry) }
    }
    return result
  }

  /// Changes an image by `commit`; pools that use it are then declared anew with what it has become, `image`. Refused
  /// where one of them cannot run that.
  private func replace<Value: Sendable>(
    _ name: String, with image: GuestImage, _ commit: () throws(ImageRefusal) -> Value
  ) throws(ImageRefusal) -> Value {
    try changes.withLock { _ throws(ImageRefusal) in
      var changes: [(pool: String, specification: PoolSpecification)] = []
      for (pool, document) in users(ofImage: name) {
        do throws(SpecificationError) {
          changes.append((pool, try PoolSpecification(document, image)))
        } catch {
          throw .unfit(pool: pool, error)
        }
      }
      let value = try commit()
      // One that is being deleted, or drains with the server, has no use for it.
      for change in changes { _ = try? fleet.declare(change.pool, change.specification) }
      return value
    }
  }
}

import APIModel
import Access
import BlobStore
import Control
import Digests
import HTTPServer
import LinuxSupport
import PoolManager

/// `/v1/blobs` and below: the bytes that images are made of.
enum BlobRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/blobs", operationID: "listBlobs", scope: .read, query: ["limit", "page_token"],
      operation: list),
    Route(method: .get, template: "/v1/blobs/{digest}", operationID: "getBlob", scope: .read, operation: get),
    Route(
      method: .put, template: "/v1/blobs/{digest}", operationID: "putBlob", scope: .images,
      body: .upload(orDocument: false),
      isNewWork: true, takesParts: true, admission: admit, operation: put),
    Route(
      method: .delete, template: "/v1/blobs/{digest}", operationID: "deleteBlob", scope: .images, operation: delete),
  ]

  private static func list(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try context.checkBlobs()
    let token = try context.query.digest("page_token")
    let limit = try context.query.pageLimit()
    let (page, goesOn) = api.images.blobs.page(after: token, limit: limit)
    let users = api.images.users(of: page.map(\.digest))
    let items = page.map { blob in
      BlobDocument(
        digest: blob.digest.description, sizeBytes: blob.size, images: Self.names(users[blob.digest]),
        state: blob.damage == nil ? "complete" : "damaged")
    }
    return try .json(Page(items: items, nextPageToken: goesOn ? page.last?.digest.description : nil))
  }

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try context.checkBlobs()
    let digest = context.parameters.digest
    let file: ReadableFile
    do throws(BlobStoreError) {
      file = try api.images.blobs.open(digest)
    } catch {
      var problem = APIProblem(error)
      // A client that wants to upload it asks here where to go on.
      problem.uploadOffset = api.images.blobs.partialSize(of: digest)
      throw problem
    }
    return try context.unlessUnchanged(tag(digest), "The blob \(digest)", caching: caching) { () throws(APIProblem) in
      var response = HTTPResponse.file(file, etag: tag(digest), for: context.head)
      guard response.status != 416 else { throw .beyondEnd(of: digest, size: file.size) }
      response.headers += [
        ("Content-Type", "application/octet-stream"), ("Cache-Control", caching), ("X-Content-Type-Options", "nosniff"),
      ]
      return response
    }
  }

  /// A year (RFC 9111, 5.2.2.1) and `immutable` (RFC 8246): other bytes have another digest.
  private static let caching = "max-age=31536000, immutable"

  private static func tag(_ digest: SHA256Digest) -> String { "\"\(digest)\"" }

  /// Refuses what a condition forbids to do to a blob, which is there or not.
  private static func check(_ context: Context, _ blobs: BlobRepository) throws(APIProblem) {
    let digest = context.parameters.digest
    let isThere = (try? blobs.size(of: digest)) != nil
    try context.checkCondition(isThere ? tag(digest) : nil, "The blob \(digest)")
  }

  /// Says before the body comes whether it is wanted.
  private static func admit(_ api: APIHandler, _ context: Context) throws(APIProblem) -> HTTPAdmission {
    try context.checkBlobs()
    let (blobs, digest, head) = (api.images.blobs, context.parameters.digest, context.head)
    try check(context, blobs)
    // The client goes on to store an image of it, as one does who has sent the bytes.
    if let size = try? blobs.markAwaited(digest) {
      return .answer(try .json(document(api, digest, size)))
    }
    let range = try context.header("Content-Range").map { text throws(APIProblem) in try ContentRange(text) }
    if let range, let length = head.contentLength, length != range.end - range.start {
      throw APIProblem(
        .badRequest, "Content-Range says \(range.end - range.start) bytes, and Content-Length says \(length).")
    }
    do throws(BlobStoreError) {
      let announced = range.map { $0.end - $0.start } ?? head.contentLength
      let upload = try blobs.begin(digest, at: range?.start ?? 0, announced: announced, of: range?.total)
      return .sink(UploadSink(upload, range, for: context))
    } catch {
      throw APIProblem(error)
    }
  }

  private static func put(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let sink = try context.upload()
    let (upload, origin) = (sink.upload, context.origin)
    if let range = sink.range, range.end < range.total { return try goesOn(upload, context.parameters.digest) }
    // Reading it back and forcing it to the disk may take seconds.
    return try await api.working { () throws(APIProblem) in
      let (digest, isNew) = try translating { () throws(ImageRefusal) in try api.pools.finish(upload, by: origin) }
      var response = try HTTPResponse.json(document(api, digest, upload.size), status: isNew ? 201 : 200)
      if isNew { response.headers.append(("Location", "/v1/blobs/\(digest)")) }
      return response
    }
  }

  private static func goesOn(_ upload: BlobUpload, _ digest: SHA256Digest) throws(APIProblem) -> HTTPResponse {
    do throws(BlobStoreError) {
      try upload.finishPart()
    } catch {
      throw APIProblem(error)
    }
    let document = BlobDocument(
      digest: digest.description, sizeBytes: upload.size, images: [], state: "partial")
    var response = try HTTPResponse.json(document, status: 202)
    response.headers.append(("Upload-Offset", String(upload.size)))
    return response
  }

  private static func delete(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try context.checkBlobs()
    let (digest, origin) = (context.parameters.digest, context.origin)
    // What is not there cannot be as a condition says (RFC 9110, 13.2.1).
    if (try? api.images.blobs.size(of: digest)) != nil { try check(context, api.images.blobs) }
    // Freeing the space of a large file takes a while.
    return try await api.working { () throws(APIProblem) in
      try translating { () throws(ImageRefusal) in try api.images.delete(digest, by: origin) }
      return .noContent
    }
  }

  /// The images' names, as their tenants call them.
  private static func names(_ images: [String]?) -> [String] { (images ?? []).map { Tenant.split($0).name } }

  private static func document(_ api: APIHandler, _ digest: SHA256Digest, _ size: Int) -> BlobDocument {
    BlobDocument(
      digest: digest.description, sizeBytes: size, images: names(api.images.users(of: [digest])[digest]),
      state: "complete")
  }
}

extension APIProblem {
  fileprivate static func beyondEnd(of digest: SHA256Digest, size: UInt64) -> APIProblem {
    var problem = APIProblem(
      .rangeNotSatisfiable, "The blob \(digest) has \(size) bytes; ask for a range that begins before its end.")
    problem.contentRange = "bytes */\(size)"
    return problem
  }
}

extension Context {
  /// Where the body went.
  func upload() throws(APIProblem) -> UploadSink {
    guard let sink = sink as? UploadSink else {
      throw APIProblem(.internalError, "The body was not taken as an upload.")
    }
    return sink
  }
}

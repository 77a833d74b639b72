import APIModel
import BlobStore
import Control
import Digests
import GuestImages
import HTTPServer
import PoolManager

/// `/v1/images` and below.
enum ImageRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/images", operationID: "listImages", scope: .read, query: ["limit", "page_token"],
      operation: list),
    Route(method: .get, template: "/v1/images/{image}", operationID: "getImage", scope: .read, operation: get),
    Route(
      method: .put, template: "/v1/images/{image}", operationID: "putImage", scope: .images,
      query: ["kind", "mode", "load_address", "entry"], body: .upload(orDocument: true), isNewWork: true,
      admission: admit, operation: put),
    Route(
      method: .delete, template: "/v1/images/{image}", operationID: "deleteImage", scope: .images, operation: delete),
  ]

  /// The images shipped with the server. Their machine code is all that they are made of, so its digest is their tag.
  private static let builtin = BuiltinGuest.all.map { guest in
    (document: ImageDocument(guest), tag: "\"\(SHA256Digest(of: guest.code).hex.prefix(32))\"")
  }

  private static func list(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let (token, limit) = (try context.query.qualifiedName("page_token"), try context.query.pageLimit())
    let (stored, goesOn) = api.images.page(of: context.viewer.tenant, after: token, limit: limit)
    let shipped = builtin.map(\.document).filter { document in token.map { document.name > $0 } ?? true }
    // By the server's names, of which no two are the same.
    let named = shipped.map { ($0.name, $0) } + stored.map { ($0.name, ImageDocument($0)) }
    let documents = named.sorted { $0.0 < $1.0 }
    let page = documents.prefix(limit)
    let next = goesOn || documents.count > limit ? page.last?.0 : nil
    return try .json(Page(items: page.map(\.1), nextPageToken: next))
  }

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let name = context.parameters.name
    if let (document, tag) = builtin.first(where: { $0.document.name == name }) {
      return try get(document, tag, context)
    }
    guard let entry = api.images.entry(context.qualifiedName) else { throw .noSuchImage(name) }
    return try get(ImageDocument(entry), entry.tag, context)
  }

  private static func get(
    _ document: ImageDocument, _ tag: String, _ context: Context
  ) throws(APIProblem) -> HTTPResponse {
    try context.unlessUnchanged(tag, "The image \(document.name)") { () throws(APIProblem) in
      var response = try HTTPResponse.json(document)
      response.headers.append(("ETag", tag))
      return response
    }
  }

  /// Says before the body comes whether it is wanted. A manifest is small and kept; anything else is the image itself.
  private static func admit(_ api: APIHandler, _ context: Context) throws(APIProblem) -> HTTPAdmission {
    let name = context.parameters.name
    try translating { () throws(ImageRefusal) in try api.images.check(name) }
    try context.checkCondition(api.images.entry(context.qualifiedName)?.tag, "The image \(name)")
    if context.isDocument {
      try context.checkBlobs()
      return .collect
    }
    let manifest = try described(context)
    do throws(BlobStoreError) {
      // Machine code may begin with any bytes.
      let upload = try api.images.blobs.begin(
        nil, announced: context.head.contentLength, examination: manifest.kind == .flat ? nil : foreignFiles)
      return .sink(UploadSink(upload, for: context))
    } catch {
      throw APIProblem(error)
    }
  }

  /// Refuses a file that no VM can start before the rest of it has come.
  private static let foreignFiles = BlobExamination(count: ForeignFile.headBytes) { head in
    ForeignFile(head: head).map { "\($0)" }
  }

  private static func put(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let name = context.parameters.name
    let (condition, origin, image) = (try context.condition(), context.origin, context.qualifiedName)
    if context.isDocument {
      let document = try context.document(ImageManifestDocument.self)
      let manifest: ImageManifest
      do throws(DocumentMistake) { manifest = try ImageManifest(document) } catch { throw APIProblem(error) }
      return try await storing(context, api) { () throws(ImageRefusal) in
        try api.pools.storeImage(manifest, as: image, if: condition.precondition(of: "The image \(name)"), by: origin)
      }
    }
    let (upload, manifest) = (try context.upload().upload, try described(context))
    do throws(APIProblem) {
      return try await storing(context, api) { () throws(ImageRefusal) in
        try api.pools.storeImage(
          upload, describedBy: manifest, as: image, if: condition.precondition(of: "The image \(name)"), by: origin)
      }
    } catch {
      // There is no document to point into.
      var problem = error
      problem.pointer = nil
      throw problem
    }
  }

  /// The manifest of an image of one part, as the query describes it. Its kernel is not known yet.
  private static func described(_ context: Context) throws(APIProblem) -> ImageManifest {
    do throws(DocumentMistake) {
      let query = context.query
      let kind = try query.text("kind").map { text throws(DocumentMistake) in
        try ImageManifest.kind(text, at: "/kind")
      }
      let flat = try ImageManifest.placement(
        mode: query.text("mode"), loadAddress: query.text("load_address"), entry: query.text("entry"))
      return ImageManifest(kind: kind, kernel: SHA256Digest(of: []), flat: flat)
    } catch {
      // The same rules as in a manifest, but there is no document to point into.
      throw APIProblem(.invalidParameter, error.description)
    }
  }

  /// Answers with the image that `store` stores. That may take seconds.
  private static func storing(
    _ context: Context, _ api: APIHandler,
    _ store: @escaping @Sendable () throws(ImageRefusal) -> (entry: StoredEntry, isNew: Bool)
  ) async throws(APIProblem) -> HTTPResponse {
    try await api.working { () throws(APIProblem) in
      let stored = try translating(store)
      var response = try response(stored.entry)
      if stored.isNew {
        response.status = 201
        response.headers.append(("Location", context.location("/v1/images/" + context.parameters.name)))
      }
      return response
    }
  }

  private static func delete(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let (name, image) = (context.parameters.name, context.qualifiedName)
    let (condition, origin) = (try context.condition(), context.origin)
    return try await api.working { () throws(APIProblem) in
      try translating { () throws(ImageRefusal) in
        try api.pools.deleteImage(image, if: condition.precondition(of: "The image \(name)"), by: origin)
      }
      return .noContent
    }
  }

  private static func response(_ entry: StoredEntry) throws(APIProblem) -> HTTPResponse {
    var response = try HTTPResponse.json(ImageDocument(entry))
    response.headers.append(("ETag", entry.tag))
    return response
  }
}

extension Context {
  /// Whether the body is JSON, by what the client calls it.
  fileprivate var isDocument: Bool {
    head.headers["Content-Type"].map { ContentTypes.essence($0) == "application/json" } ?? false
  }
}

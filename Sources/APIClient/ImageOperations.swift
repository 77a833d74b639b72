import APIModel

extension VMPoolClient {
  /// `GET /v1/images`, every page; only those of the tenant, where given.
  public func images(tenant: String? = nil) throws(APIError) -> [ImageDocument] {
    try allPages("/v1/images", query: .optional("tenant", tenant))
  }

  /// `GET /v1/images/{image}`, of the tenant, where given.
  public func image(_ name: String, tenant: String? = nil) throws(APIError) -> ImageDocument {
    try document("GET", imagePath(name), query: .optional("tenant", tenant))
  }

  /// `PUT /v1/images/{image}`: an image made of blobs that are there. `isReplaced` says whether the name had an image
  /// before.
  public func putImage(
    _ name: String, _ manifest: ImageManifestDocument
  ) throws(APIError) -> (image: ImageDocument, isReplaced: Bool) {
    let response = try checked("PUT", imagePath(name), body: try encoded(manifest))
    return (try decoded(response, "PUT \(imagePath(name))"), response.status == 200)
  }

  /// `DELETE /v1/images/{image}`.
  public func deleteImage(_ name: String) throws(APIError) { _ = try checked("DELETE", imagePath(name)) }

  /// `GET /v1/blobs`, every page.
  public func blobs() throws(APIError) -> [BlobDocument] { try allPages("/v1/blobs") }

  /// `DELETE /v1/blobs/{digest}`; `/problems/blob-in-use` where an image is made of it.
  public func deleteBlob(_ digest: String) throws(APIError) { _ = try checked("DELETE", blobPath(digest)) }

  /// `HEAD /v1/blobs/{digest}`: how many bytes of a blob are there; nil for all of them.
  public func missingOffset(ofBlob digest: String) throws(APIError) -> Int? {
    let response = try send("HEAD", to: blobPath(digest))
    if response.status == 200 { return nil }
    guard response.status == 404 else { throw refusal(response, "HEAD \(blobPath(digest))") }
    return response.header("Upload-Offset").flatMap { Int($0) } ?? 0
  }

  /// `PUT /v1/blobs/{digest}`: the blob of `size` bytes from `offset` on, which `read` fills buffers with. The upload
  /// ends with an error where `read` returns nil.
  public func putBlob(
    _ digest: String, size: Int, from offset: Int = 0, reading read: (inout MutableRawSpan) -> Int?
  ) throws(APIError) -> BlobDocument {
    let range = offset > 0 ? [HTTPField("Content-Range", "bytes \(offset)-\(size - 1)/\(size)")] : []
    let response = try connection.upload(
      target: blobPath(digest), headers: range, count: size - offset, silence: Self.silence, read)
    guard 200..<300 ~= response.status else { throw refusal(response, "PUT \(blobPath(digest))") }
    return try decoded(response, "PUT \(blobPath(digest))")
  }

  /// `GET /v1/blobs/{digest}`: hands over its bytes as they come, until they end or `body` returns false.
  public func blob(_ digest: String, _ body: ([UInt8]) -> Bool) throws(APIError) {
    let refusal = try connection.stream(
      target: blobPath(digest), headers: [], type: "application/octet-stream", silence: Self.silence, body)
    if let refusal { throw self.refusal(refusal, "GET \(blobPath(digest))") }
  }

  /// How long nothing may go either way: the server reads a blob back, and forces it to the disk, before it answers.
  private static let silence = Duration.seconds(300)

  private func imagePath(_ name: String) -> String { "/v1/images/\(PercentEncoding.encoded(name))" }
  private func blobPath(_ digest: String) -> String { "/v1/blobs/\(PercentEncoding.encoded(digest))" }
}

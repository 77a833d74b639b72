import APIModel
import BlobStore
import Digests
import Foundation
import StateStore
import Testing

@testable import ManagementAPI

/// Blobs over the API.
struct BlobTests: SampleImage {
  private let harness = Harness(factory: StubFactory())

  @Test func aBlobIsUploadedShownAndDeleted() throws {
    let path = "/v1/blobs/\(digest)"
    #expect(harness.send("GET", path).problem?.kind == "blob-not-found")
    let made = harness.send("PUT", path, bytes: code)
    #expect(made.status == 201)
    #expect(made["Location"] == path)
    let document = try made.document(BlobDocument.self)
    #expect(document == BlobDocument(digest: "\(digest)", sizeBytes: code.count, images: [], state: "complete"))
    // The second time the bytes need not be sent.
    var request = Harness.request("PUT", path, code)
    guard case .answer(let answer) = harness.api.admit(&request.head) else { Issue.record("it is wanted"); return }
    #expect(answer.status == 200)
    let got = harness.send("GET", path)
    #expect(got.body == code)
    #expect(got["Content-Type"] == "application/octet-stream")
    #expect(try harness.send("GET", "/v1/blobs").document(Page<BlobDocument>.self).items == [document])
    #expect(harness.send("DELETE", path).status == 204)
    #expect(harness.send("DELETE", path).problem?.kind == "blob-not-found")
    #expect(try harness.send("GET", "/v1/blobs").document(Page<BlobDocument>.self).items.isEmpty)
  }

  @Test func blobsArePaged() throws {
    let digests = (0..<5).map { SHA256Digest(of: [$0]) }.sorted()
    for byte in UInt8(0)..<5 { harness.send("PUT", "/v1/blobs/\(SHA256Digest(of: [byte]))", bytes: [byte]) }
    var found: [String] = []
    var token: String?
    repeat {
      let place = token.map { "&page_token=\($0)" } ?? ""
      let page = try harness.send("GET", "/v1/blobs?limit=2\(place)").document(Page<BlobDocument>.self)
      found += page.items.map(\.digest)
      token = page.nextPageToken
    } while token != nil
    #expect(found == digests.map(\.description))
    #expect(harness.send("GET", "/v1/blobs?page_token=spin").problem?.kind == "invalid-parameter")
  }

  @Test func aPageOfBlobsNamesTheirImages() throws {
    for byte in UInt8(0)..<6 {
      harness.send("PUT", "/v1/images/i\(byte)?kind=flat&mode=real16", bytes: [0xF4, byte / 2])
    }
    let items = try harness.send("GET", "/v1/blobs").document(Page<BlobDocument>.self).items
    #expect(Set(items.map(\.images)) == [["i0", "i1"], ["i2", "i3"], ["i4", "i5"]])
    let page = try harness.send("GET", "/v1/images?limit=3&page_token=i1").document(Page<ImageDocument>.self)
    #expect(page.items.map(\.name) == ["i2", "i3", "i4"] && page.nextPageToken == "i4")
  }

  @Test func otherBytesThanTheDigestSaysAreRefused() {
    let other = SHA256Digest(of: [1])
    let reply = harness.send("PUT", "/v1/blobs/\(other)", bytes: code)
    #expect(reply.status == 422)
    #expect(reply.problem?.kind == "digest-mismatch")
    #expect(reply.problem?.detail.contains("\(digest)") == true)
    #expect(harness.images.blobs.blobs.isEmpty)
  }

  @Test(arguments: [
    "sha256:", "sha256:00", "sha512:" + String(repeating: "0", count: 64),
    "sha256:" + String(repeating: "A", count: 64),
    "sha256:" + String(repeating: "0", count: 65), "..", "%2e%2e", "partial",
  ]) func whatIsNoDigestLeadsNowhere(segment: String) {
    for method in ["GET", "PUT", "DELETE"] {
      let reply = harness.send(method, "/v1/blobs/\(segment)", bytes: method == "PUT" ? code : [])
      #expect(reply.problem?.kind == "invalid-parameter", "\(method)")
    }
  }

  @Test func aBlobComesInParts() throws {
    let path = "/v1/blobs/\(digest)"
    func part(_ range: Range<Int>) -> Reply {
      harness.send(
        "PUT", path, bytes: Array(code[range]),
        headers: [
          ("Host", "localhost"), ("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(code.count)"),
        ])
    }
    let first = part(0..<1000)
    #expect(first.status == 202)
    #expect(first["Upload-Offset"] == "1000")
    #expect(try first.document(BlobDocument.self).state == "partial")
    let missing = harness.send("GET", path)
    #expect(missing.status == 404)
    #expect(missing["Upload-Offset"] == "1000")
    for wrong in [1..<1000, 500..<2000, 2000..<5000] {
      let reply = part(wrong)
      #expect(reply.status == 416)
      #expect(reply["Upload-Offset"] == "1000")
    }
    #expect(part(1000..<3000).status == 202)
    #expect(part(3000..<5000).status == 201)
    #expect(harness.send("GET", path).body == code)
    #expect(part(0..<10).status == 200)
  }

  @Test func aPartOfAnotherWholeIsRefusedAndTheUploadKept() {
    let path = "/v1/blobs/\(digest)"
    func part(_ range: Range<Int>, _ text: String) -> Reply {
      harness.send("PUT", path, bytes: Array(code[range]), headers: [("Host", "localhost"), ("Content-Range", text)])
    }
    #expect(part(0..<1000, "Bytes 0-999/5000").status == 202)
    for total in [3000, 6000] {
      let other = part(1000..<3000, "bytes 1000-2999/\(total)")
      #expect(other.problem?.kind == "bad-request" && other.problem?.detail.contains("5000") == true, "\(other.text)")
      #expect(harness.images.blobs.partialSize(of: digest) == 1000)
    }
    #expect(part(1000..<5000, "BYTES 1000-4999/5000").status == 201)
  }

  @Test func aBodyInACodingIsNoBlob() {
    let headers = [("Host", "localhost"), ("Content-Encoding", "gzip")]
    #expect(harness.send("PUT", "/v1/blobs/\(digest)", bytes: code, headers: headers).status == 415)
    #expect(harness.images.blobs.usedBytes == 0)
  }

  @Test(arguments: [
    ("bytes 0-99/99999999999999999999", 413, "at most 1073741824 bytes"),
    ("bytes 0-99/1073741825", 413, "at most 1073741824 bytes"),
    ("bytes 0-99/100, bytes 1-2/3", 400, "bytes FIRST-LAST/TOTAL"), ("bytes 99-0/100", 400, "must not be behind"),
    ("bytes 1-100/100", 400, "must be less than the number of all"),
    ("bytes 0-99999999999999999999/99999999999999999999", 400, "must be less than the number of all"),
  ]) func aRangeIsRefusedForWhatItIs(range: String, status: Int, detail: String) {
    let headers = [("Host", "localhost"), ("Content-Range", range)]
    let reply = harness.send("PUT", "/v1/blobs/\(digest)", bytes: Array(code.prefix(100)), headers: headers)
    #expect(reply.status == status && reply.problem?.detail.contains(detail) == true, "\(reply.text)")
  }

  // MARK: Blobs that wait for their image

  /// Whether the client sends the bytes, or learns that they are there.
  @Test(arguments: [false, true]) func aBlobThatWasPutOutlivesAnotherClientsImage(isThere: Bool) throws {
    func upload(_ name: String) { harness.send("PUT", "/v1/images/\(name)?\(flat)", bytes: code) }
    if isThere { upload("theirs") }
    #expect(harness.send("PUT", "/v1/blobs/\(digest)", bytes: code).status == (isThere ? 200 : 201))
    if !isThere { upload("theirs") }
    #expect(harness.send("DELETE", "/v1/images/theirs").status == 204)
    upload("theirs")
    harness.send("PUT", "/v1/images/theirs?\(flat)", bytes: [1])
    #expect(harness.send("PUT", "/v1/images/ours", manifest(), headers: json()).status == 201)
    // From here on it goes with its image.
    #expect(harness.send("DELETE", "/v1/images/ours").status == 204)
    #expect(harness.send("GET", "/v1/blobs/\(digest)").status == 404)
    #expect(try harness.state.audit(after: 0, limit: 100).map(\.entry.action).count { $0 == "blob.delete" } == 1)
  }

  @Test func anImageThatIsRefusedLeavesAnUploadOfTheSameBytes() {
    let path = "/v1/blobs/\(digest)"
    let part = [("Host", "localhost"), ("Content-Range", "bytes 0-999/5000")]
    #expect(harness.send("PUT", path, bytes: Array(code.prefix(1000)), headers: part).status == 202)
    #expect(harness.send("PUT", "/v1/images/tool", bytes: code).status == 422)
    #expect(harness.send("GET", path)["Upload-Offset"] == "1000")
    let rest = [("Host", "localhost"), ("Content-Range", "bytes 1000-4999/5000")]
    #expect(harness.send("PUT", path, bytes: Array(code.dropFirst(1000)), headers: rest).status == 201)
    #expect(harness.images.blobs.usedBytes == code.count)
  }

  @Test func roomThatIsOnlyAnnouncedComesBack() throws {
    let harness = Harness(factory: StubFactory(), blobLimits: BlobLimits(blobBytes: 6000, totalBytes: 6000))
    let running = try harness.images.blobs.begin(SHA256Digest(of: [1]), announced: 2000)
    let reply = harness.send("PUT", "/v1/blobs/\(digest)", bytes: code)
    #expect(reply.status == 503 && reply.problem?.kind == "resources-exhausted", "\(reply.text)")
    #expect(reply.problem?.detail.contains("uploads under way have announced 2000") == true)
    running.discard()
    #expect(harness.send("PUT", "/v1/blobs/\(digest)", bytes: code).status == 201)
  }

  @Test(arguments: [
    "0-99/5000", "bytes 0-99", "bytes 0-99/*", "bytes */5000", "bytes 99-0/5000", "bytes 0-5000/5000",
    "bytes -1-9/5000", "bytes +0-99/5000", "bytes 0-99/5000, bytes 1-2/3", "items 0-99/5000",
    "bytes 0-4999/5000/1", "bytes 0--99/5000", "bytes 0-98/5000",
  ]) func rangesThatMakeNoSenseAreRefused(range: String) {
    let headers = [("Host", "localhost"), ("Content-Range", range)]
    let reply = harness.send("PUT", "/v1/blobs/\(digest)", bytes: Array(code.prefix(100)), headers: headers)
    #expect(reply.problem?.kind == "bad-request", "\(reply.text)")
    #expect(harness.images.blobs.usedBytes == 0)
  }

  @Test func limitsAreNamed() throws {
    let harness = Harness(factory: StubFactory(), blobLimits: BlobLimits(blobBytes: 4000, totalBytes: 6000))
    let large = harness.send("PUT", "/v1/blobs/\(digest)", bytes: code)
    #expect(large.status == 413)
    #expect(large.problem?.detail.contains("4000") == true)
    #expect(harness.send("PUT", "/v1/images/tool?\(flat)", bytes: code).status == 413)
    let first = Array(code.prefix(4000))
    #expect(harness.send("PUT", "/v1/blobs/\(SHA256Digest(of: first))", bytes: first).status == 201)
    let second = Array(code.suffix(3000))
    let full = harness.send("PUT", "/v1/blobs/\(SHA256Digest(of: second))", bytes: second)
    #expect(full.status == 507)
    #expect(full.problem?.kind == "insufficient-storage")
    #expect(full.problem?.detail.contains("6000") == true)
    let limits = try harness.send("GET", "/v1/host").document(HostDocument.self).limits
    #expect(limits.maxBlobBytes == 4000 && limits.maxBlobsBytes == 6000)
    #expect(harness.metrics()["vmpool_blob_bytes"] == 4000)
    #expect(harness.metrics()["vmpool_blob_limit_bytes"] == 6000)
  }
}

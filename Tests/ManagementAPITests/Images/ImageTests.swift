import APIModel
import BlobStore
import Control
import Digests
import Foundation
import GuestImages
import StateStore
import Testing

@testable import ManagementAPI

/// Blobs and images over the API, with VMs that are none.
struct ImageTests {
  /// `mov al, 0; out 0xf4, al; hlt` and such: any bytes are machine code.
  private let code = [UInt8]((0..<5000).map { UInt8(truncatingIfNeeded: $0 * 7) })
  private let flat = "kind=flat&mode=long64&load_address=0x20000"
  private var digest: SHA256Digest { SHA256Digest(of: code) }
  private let harness = Harness(factory: StubFactory())

  private func manifest(_ members: String = "") -> String {
    #"{"kind": "flat", "mode": "long64", "kernel": "\#(digest)"\#(members)}"#
  }

  private func json(_ more: [(String, String)] = []) -> [(String, String)] {
    [("Host", "localhost:8080"), ("Content-Type", "application/json")] + more
  }

  // MARK: Blobs

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

  @Test(arguments: [
    "0-99/5000", "bytes 0-99", "bytes 0-99/*", "bytes */5000", "bytes 99-0/5000", "bytes 0-5000/5000",
    "bytes -1-9/5000",
    "bytes 0-99/99999999999999999999", "bytes +0-99/5000", "bytes 0-99/5000, bytes 1-2/3", "items 0-99/5000",
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

  // MARK: Images

  @Test func anImageIsUploadedUsedAndDeleted() throws {
    let made = harness.send("PUT", "/v1/images/tool?\(flat)&entry=0x20010", bytes: code)
    #expect(made.status == 201, "\(made.text)")
    #expect(made["Location"] == "/v1/images/tool")
    let image = try made.document(ImageDocument.self)
    #expect(image.kind == "flat" && image.state == "usable" && image.reason == nil)
    #expect(image.digest == "\(digest)" && image.sizeBytes == code.count && image.entry == "0x20010")
    #expect(image.segments.map(\.address) == ["0x20000"])
    #expect(image.notes["mode"] == "long64")
    #expect(
      image.manifest
        == ImageManifestDocument(
          kind: "flat", kernel: "\(digest)", mode: "long64", loadAddress: "0x20000", entry: "0x20010"))
    let got = harness.send("GET", "/v1/images/tool")
    #expect(try got.document(ImageDocument.self) == image)
    #expect(got["ETag"] == made["ETag"] && got["ETag"] != nil)
    let names = try harness.send("GET", "/v1/images").document(Page<ImageDocument>.self).items.map(\.name)
    #expect(names == names.sorted() && names.contains("tool") && names.contains("spin"))

    let vm = try harness.create(#"{"image": "tool"}"#)
    #expect(vm.image == "tool")
    #expect(harness.send("DELETE", "/v1/blobs/\(digest)").problem?.kind == "blob-in-use")
    #expect(harness.send("DELETE", "/v1/images/tool").status == 204)
    #expect(harness.send("GET", "/v1/images/tool").problem?.kind == "image-not-found")
    // The blob went with the only image that named it.
    #expect(harness.send("GET", "/v1/blobs/\(digest)").status == 404)
    #expect(harness.send("POST", "/v1/vms", #"{"image": "tool"}"#).problem?.pointer == "/image")
  }

  @Test func aManifestNamesBlobsThatAreThere() throws {
    let missing = harness.send("PUT", "/v1/images/tool", manifest(), headers: json())
    #expect(missing.status == 400)
    #expect(missing.problem?.pointer == "/kernel")
    #expect(missing.problem?.detail.contains("/v1/blobs/\(digest)") == true)
    #expect(harness.send("PUT", "/v1/blobs/\(digest)", bytes: code).status == 201)
    #expect(harness.send("PUT", "/v1/images/tool", manifest(), headers: json()).status == 201)
    let page = try harness.send("GET", "/v1/blobs").document(Page<BlobDocument>.self)
    #expect(page.items.map(\.images) == [["tool"]])
    // Another image that names it keeps it.
    #expect(harness.send("PUT", "/v1/images/other", manifest(), headers: json()).status == 201)
    #expect(harness.send("DELETE", "/v1/images/tool").status == 204)
    #expect(harness.send("GET", "/v1/blobs/\(digest)").status == 200)
  }

  @Test(arguments: [
    (#"{}"#, "/kernel"), (#"{"kernel": "x"}"#, "/kernel"), (#"{"kernel": 1}"#, "/kernel"), ("[]", ""),
    (#"{"kernel": "D", "kind": "builtin"}"#, "/kind"), (#"{"kernel": "D", "kind": "zip"}"#, "/kind"),
    (#"{"kernel": "D", "mode": "long65"}"#, "/mode"), (#"{"kernel": "D", "entry": "0x1"}"#, "/mode"),
    (#"{"kernel": "D", "mode": "long64", "load_address": "1"}"#, "/load_address"),
    (#"{"kernel": "D", "mode": "long64", "entry": "0x-1"}"#, "/entry"),
    (#"{"kernel": "D", "initramfs": "D/../../x"}"#, "/initramfs"), (#"{"kernel": "D", "block": {"": "D"}}"#, "/block"),
    (#"{"kernel": "D", "block": {"../x": "D"}}"#, "/block"), (#"{"kernel": "D", "block": {"a": "b"}}"#, "/block/a"),
    (#"{"kernel": "D", "surprise": true}"#, "/surprise"), (#"{"kernel": "D", "modules": [{}]}"#, "/modules/0/blob"),
    (#"{"kernel": "D", "modules": [{"blob": "D"}, {"blob": "x"}]}"#, "/modules/1/blob"),
    (#"{"kernel": "D", "modules": [{"blob": "D", "text": ""}]}"#, "/modules/0/text"),
  ]) func manifestsThatMakeNoSenseAreRefused(body: String, pointer: String) {
    harness.send("PUT", "/v1/blobs/\(digest)", bytes: code)
    let body = body.replacingOccurrences(of: "\"D", with: "\"\(digest)")
    let reply = harness.send("PUT", "/v1/images/tool", body, headers: json())
    #expect(reply.status == 400, "\(reply.text)")
    #expect(reply.problem?.pointer == pointer, "\(reply.text)")
    #expect(harness.send("GET", "/v1/images/tool").status == 404)
  }

  /// Parts that an image's kind has no use for are pointed at, where there is a document to point into.
  @Test(arguments: [
    (#""modules": [{"blob": "D"}]"#, "/modules"), (#""initramfs": "D""#, "/initramfs"),
    (#""command_line": "x""#, "/command_line"), (#""block": {"a": "D"}"#, "/block"),
  ]) func partsThatMakeNoImageArePointedAt(member: String, pointer: String) {
    harness.send("PUT", "/v1/blobs/\(digest)", bytes: code)
    let member = member.replacingOccurrences(of: "\"D", with: "\"\(digest)")
    let reply = harness.send("PUT", "/v1/images/tool", manifest(", \(member)"), headers: json())
    #expect(reply.status == 422 && reply.problem?.pointer == pointer, "\(reply.text)")
    let unknown = harness.send("PUT", "/v1/images/tool", #"{"kernel": "\#(digest)"}"#, headers: json())
    #expect(unknown.status == 422 && unknown.problem?.pointer == "/kernel", "\(unknown.text)")
    let upload = harness.send("PUT", "/v1/images/tool", bytes: code)
    #expect(upload.status == 422 && upload.problem?.pointer == nil, "\(upload.text)")
  }

  @Test func textsOfModulesThatAreTooLongArePointedAt() {
    for error in [ImageError.moduleText(module: 2, bytes: 9, limit: 8), .moduleTextNUL(module: 2)] {
      #expect(APIProblem(ImageRefusal.invalid(error)).pointer == "/modules/2/string")
    }
  }

  @Test func manifestsAreBounded() {
    harness.send("PUT", "/v1/blobs/\(digest)", bytes: code)
    let blocks = (0..<17).map { "\"b\($0)\": \"\(digest)\"" }.joined(separator: ",")
    let many = harness.send("PUT", "/v1/images/tool", manifest(", \"block\": {\(blocks)}"), headers: json())
    #expect(many.problem?.pointer == "/block")
    let modules = [String](repeating: "{\"blob\": \"\(digest)\"}", count: 65).joined(separator: ",")
    let more = harness.send("PUT", "/v1/images/tool", manifest(", \"modules\": [\(modules)]"), headers: json())
    #expect(more.problem?.pointer == "/modules")
    let long = String(repeating: "a", count: 65_537)
    let module = "{\"blob\": \"\(digest)\", \"string\": \"\(long)\"}"
    let longer = harness.send("PUT", "/v1/images/tool", manifest(", \"modules\": [\(module)]"), headers: json())
    #expect(longer.problem?.pointer == "/modules")
    let told = harness.send("PUT", "/v1/images/tool", manifest(", \"command_line\": \"\(long)\""), headers: json())
    #expect(told.problem?.pointer == "/command_line")
  }

  @Test func whatMakesNoImageLeavesNothing() {
    let unknown = harness.send("PUT", "/v1/images/tool", bytes: code)
    #expect(unknown.status == 422)
    #expect(unknown.problem?.kind == "invalid-image")
    for query in ["kind=zip", "mode=x", "kind=flat&entry=0x1", "kind=flat&mode=long64&load_address=1", "size=1"] {
      let reply = harness.send("PUT", "/v1/images/tool?\(query)", bytes: code)
      #expect(reply.problem?.kind == "invalid-parameter", "\(query): \(reply.text)")
    }
    #expect(harness.send("PUT", "/v1/images/tool?kind=flat", bytes: code).problem?.kind == "invalid-image")
    #expect(harness.images.blobs.usedBytes == 0)
    #expect(harness.send("GET", "/v1/images/tool").status == 404)
    // A blob that was there before stays.
    harness.send("PUT", "/v1/blobs/\(digest)", bytes: code)
    #expect(harness.send("PUT", "/v1/images/tool", bytes: code).status == 422)
    #expect(harness.send("GET", "/v1/blobs/\(digest)").status == 200)
  }

  @Test func builtInImagesStay() {
    for body in [code, []] {
      #expect(harness.send("PUT", "/v1/images/spin?\(flat)", bytes: body).problem?.kind == "builtin-image")
    }
    #expect(harness.send("PUT", "/v1/images/spin", manifest(), headers: json()).problem?.kind == "builtin-image")
    #expect(harness.send("DELETE", "/v1/images/spin").problem?.kind == "builtin-image")
    #expect(harness.images.blobs.usedBytes == 0)
  }

  @Test func conditionsHold() throws {
    func put(_ bytes: [UInt8], _ name: String, _ tag: String) -> Reply {
      harness.send("PUT", "/v1/images/tool?\(flat)", bytes: bytes, headers: [("Host", "localhost"), (name, tag)])
    }
    #expect(put(code, "If-Match", "*").status == 412)
    let made = put(code, "If-None-Match", "*")
    #expect(made.status == 201)
    let tag = try #require(made["ETag"])
    #expect(put(code, "If-None-Match", "*").status == 412)
    #expect(put([1, 2], "If-Match", "\"x\"").status == 412)
    // What is refused leaves nothing.
    #expect(harness.images.blobs.usedBytes == code.count)
    // The same once more changes nothing.
    let created = try made.document(ImageDocument.self).createdAt
    let again = put(code, "If-Match", tag)
    #expect(again.status == 200 && again["ETag"] == tag)
    #expect(try again.document(ImageDocument.self).createdAt == created)
    let other = put([1, 2], "If-Match", tag)
    #expect(other.status == 200 && other["ETag"] != tag)
    #expect(harness.images.blobs.usedBytes == 2)
    let old = [("Host", "localhost"), ("If-Match", tag)]
    #expect(harness.send("DELETE", "/v1/images/tool", headers: old).status == 412)
    #expect(put(code, "If-Match", "nonsense").problem?.kind == "bad-request")
  }

  @Test func everyChangeIsInTheAuditLog() throws {
    harness.send("PUT", "/v1/images/tool?\(flat)", bytes: code)
    harness.send("DELETE", "/v1/images/tool")
    let entries = try harness.state.audit(after: 0, limit: 100).map(\.entry)
    #expect(entries.map(\.action) == ["blob.store", "image.store", "image.delete", "blob.delete"])
    #expect(entries.map(\.subject) == ["\(digest)", "tool", "tool", "\(digest)"])
    #expect(entries.allSatisfy { $0.requestID == "test-1" && $0.who == "127.0.0.1" })
  }

  @Test func nothingNewComesWhileTheServerDrains() {
    harness.fleet.beginDraining()
    #expect(harness.send("PUT", "/v1/images/tool?\(flat)", bytes: code).problem?.kind == "draining")
    #expect(harness.send("PUT", "/v1/blobs/\(digest)", bytes: code).problem?.kind == "draining")
  }
}

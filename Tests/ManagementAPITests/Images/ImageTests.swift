import APIModel
import BlobStore
import Control
import Digests
import Foundation
import GuestImages
import StateStore
import Testing

@testable import ManagementAPI

/// Images over the API, with VMs that are none.
struct ImageTests: SampleImage {
  private let harness = Harness(factory: StubFactory())

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

  @Test(
    arguments: [
      ("real16", "0xfffffff0", nil, "/load_address"), ("real16", "0x10001", nil, "/load_address"),
      ("long64", "0xc0000000", nil, "/load_address"), ("long64_ring3", "0x0", nil, "/load_address"),
      ("prot32", "0xfffff000", nil, "/load_address"), ("long64", "0x20000", "0x10000", "/entry"),
      ("real16", "0x10000", "0x20001", "/entry"),
    ] as [(String, String, String?, String)])
  func machineCodeThatCanNeverStartIsRefused(mode: String, address: String, entry: String?, pointer: String) {
    let query = "kind=flat&mode=\(mode)&load_address=\(address)" + (entry.map { "&entry=\($0)" } ?? "")
    let upload = harness.send("PUT", "/v1/images/tool?\(query)", bytes: code)
    #expect(upload.status == 422 && upload.problem?.kind == "invalid-image", "\(upload.text)")
    #expect(harness.images.blobs.usedBytes == 0)
    harness.send("PUT", "/v1/blobs/\(digest)", bytes: code)
    let start = entry.map { ", \"entry\": \"\($0)\"" } ?? ""
    let body = #"{"kernel": "\#(digest)", "kind": "flat", "mode": "\#(mode)", "load_address": "\#(address)"\#(start)}"#
    let described = harness.send("PUT", "/v1/images/tool", body, headers: json())
    #expect(described.status == 422 && described.problem?.pointer == pointer, "\(described.text)")
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

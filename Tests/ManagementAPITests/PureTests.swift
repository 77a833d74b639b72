import APIModel
import Foundation
import JSONCodec
import TestRandomness
import Testing

@testable import ManagementAPI

@Suite struct RFC3339Tests {
  @Test(arguments: [
    (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
    (951_782_400_000, "2000-02-29T00:00:00.000Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
    (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (1_738_324_800_001, "2025-01-31T12:00:00.001Z"),
  ])
  func known(milliseconds: Int64, text: String) { #expect(RFC3339.text(milliseconds: milliseconds) == text) }

  @Test func agreesWithFoundation() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
    for _ in 0..<500 {
      // A quarter past the millisecond, so that a Double's rounding does not matter.
      let milliseconds = Int64.random(in: 0..<253_402_300_800_000, using: &generator)
      let date = Date(timeIntervalSince1970: (Double(milliseconds) + 0.25) / 1000)
      #expect(RFC3339.text(milliseconds: milliseconds) == date.formatted(style), "seed \(seed)")
    }
  }
}

/// What writes itself reads the same as what the encoder makes.
@Suite struct WrittenDocumentTests {
  private static let kicks = [
    KickDocument(
      vm: "vm-0123456789ab", vcpu: 0, generation: 1, mechanism: "immediate_exit", phase: "guest", coalesced: false,
      signalsSent: 1, latencyNS: 28_412, signalLatencyNS: 21_904),
    KickDocument(
      vm: "vm-0123456789ab", vcpu: 7, generation: 1 << 47, mechanism: "signal_mask", phase: "parked", coalesced: true,
      signalsSent: 0, latencyNS: 0, signalLatencyNS: nil),
  ]
  private static let texts = [
    "", "plain", "a \"quote\" and a \\", "line\nbreak\r\ttab", "\u{1}\u{1f}\u{7f}", "a\0b", "ünïcode 🦀",
  ]

  /// A document without its own way of writing itself.
  private struct Encoded: Encodable {
    let document: any Encodable

    func encode(to encoder: any Encoder) throws { try document.encode(to: encoder) }
  }

  private func check(_ document: some JSONWritable) throws {
    #expect(try JSON.encode(document) == JSON.encode(Encoded(document: document)))
  }

  @Test func kicks() throws {
    for kick in Self.kicks { try check(kick) }
    for count in 0...2 { try check(KickAllDocument(vm: "vm-0123456789ab", kicks: Array(Self.kicks.prefix(count)))) }
  }

  @Test(arguments: texts) func leasesAndEvents(text: String) throws {
    try check(
      LeaseDocument(
        lease: "lease-5f0c2a9b1e7d4a60", pool: "p", vm: "vm-0123456789ab", fence: 42, labels: ["b": text, text: "a"],
        grantedAt: "x", expiresAt: "y", maxExpiresAt: "z"))
    try check(EventDocument(type: "vm.running", at: "x", pool: text, vm: nil, lease: "l", detail: text))
    try check(EventDocument(type: "vm.stopped", at: "x", reason: text, exitCode: 255))
  }
}

@Suite struct RouterTests {
  private let router = Router(Route.all)

  @Test(arguments: [
    ("/v1/vms", "/v1/vms"), ("/v1/%76ms", "/v1/vms"),
    ("/v1/vms/vm-0123456789ab/vcpus/7/kick", "/v1/vms/{vm}/vcpus/{index}/kick"),
    ("/v1/pools/a", "/v1/pools/{pool}"), ("/v1/pools/A", "/v1/pools/{pool}"), ("/v1/vms/", nil), ("/", "/"), ("", nil),
    ("*", nil), ("/%", nil),
    ("/%zz", nil),
    ("/v1/%ff", nil), ("//v1/vms", nil),
  ])
  func templatesOfPathsAsSent(path: String, template: String?) {
    #expect(router.template(ofRaw: path) == template)
  }

  @Test func parameters() throws {
    let found = try router.find(["v1", "vms", "vm-0123456789ab", "vcpus", "3", "registers"])?.parameters.get()
    #expect(found == PathParameters(vm: "vm-0123456789ab", index: 3, name: ""))
    #expect(try router.find(["v1", "pools", "a-1"])?.parameters.get().name == "a-1")
  }

  @Test func theFirstMalformedParameterIsNamed() {
    let found = router.find(["v1", "vms", "5", "vcpus", "64", "registers"])
    #expect(found?.path.template == "/v1/vms/{vm}/vcpus/{index}/registers")
    #expect(found?.parameters == .failure(MalformedParameter(parameter: .vm, text: "5")))
    #expect(router.find(["v1", "vms", "5", "vcpus", "9", "register"]) == nil)
    #expect(router.find(["v1", "vms", ""]) == nil)
  }

  @Test(arguments: [
    (PathParameter.vm, "VMId"), (.lease, "LeaseId"), (.image, "ResourceName"), (.pool, "ResourceName"),
    (.digest, "Digest"),
  ]) func patternsAreThoseOfTheDocument(parameter: PathParameter, schema: String) {
    #expect(OpenAPIDocument.shared.component("schemas", schema)["pattern"] as? String == parameter.pattern)
  }

  @Test func everyTemplateFindsItself() {
    for route in Route.all {
      let path = route.template.replacing("{vm}", with: "vm-0123456789ab").replacing("{index}", with: "0")
        .replacing("{lease}", with: "lease-0123456789abcdef")
        .replacing("{image}", with: "spin").replacing("{pool}", with: "demo").replacing("{kind}", with: "draining")
        .replacing("{digest}", with: "sha256:" + String(repeating: "0", count: 64))
      #expect(router.template(ofRaw: path) == route.template)
    }
  }
}

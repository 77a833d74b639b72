import APIModel
import Foundation
import JSONCodec
import TestRandomness
import Testing

@testable import ManagementAPI

@Suite struct Base64Tests {
  @Test(arguments: [
    ("", []), ("Zg==", Array("f".utf8)), ("Zm8=", Array("fo".utf8)), ("Zm9v", Array("foo".utf8)),
    ("+/+/", [0xFB, 0xFF, 0xBF]), ("sCrm9PQ=", [0xB0, 0x2A, 0xE6, 0xF4, 0xF4]),
  ])
  func decodes(text: String, bytes: [UInt8]) { #expect(Base64.decoded(text) == bytes) }

  @Test(arguments: [
    "Z", "Zg", "Zg=", "Zg===", "=", "====", "Zh==", "Zm9=", "Zm9v\n", " Zm9v", "Zm-_", "Zm9vZg==Zm9v", "Z===", "Zg=v",
    "Zmé=",
  ])
  func refuses(text: String) { #expect(Base64.decoded(text) == nil) }

  @Test func agreesWithFoundation() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<500 {
      let bytes = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      #expect(Base64.decoded(Data(bytes).base64EncodedString()) == bytes, "seed \(seed)")
    }
  }
}

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

@Suite struct KickTextTests {
  private static let kicks = [
    KickDocument(
      vm: "vm-0123456789ab", vcpu: 0, generation: 1, mechanism: "immediate_exit", phase: "guest", coalesced: false,
      signalsSent: 1, latencyNS: 28_412, signalLatencyNS: 21_904),
    KickDocument(
      vm: "vm-0123456789ab", vcpu: 7, generation: 1 << 47, mechanism: "signal_mask", phase: "parked", coalesced: true,
      signalsSent: 0, latencyNS: 0, signalLatencyNS: nil),
  ]

  @Test(arguments: 0..<2) func isWhatTheEncoderMakes(index: Int) throws {
    #expect(KickText(Self.kicks[index]).bytes == (try JSON.encode(Self.kicks[index])))
  }

  @Test(arguments: 0...2) func isWhatTheEncoderMakesOfAll(count: Int) throws {
    let all = KickAllDocument(vm: "vm-0123456789ab", kicks: Array(Self.kicks.prefix(count)))
    #expect(KickText(all).bytes == (try JSON.encode(all)))
  }
}

@Suite struct RouterTests {
  private let router = Router(Route.all)

  @Test(arguments: [
    ("/v1/vms", "/v1/vms"), ("/v1/%76ms", "/v1/vms"),
    ("/v1/vms/vm-0123456789ab/vcpus/7/kick", "/v1/vms/{vm}/vcpus/{index}/kick"),
    ("/v1/pools/a", "/v1/pools/{pool}"), ("/v1/vms/", nil), ("/", nil), ("", nil), ("*", nil), ("/%", nil),
    ("/%zz", nil),
    ("/v1/%ff", nil), ("//v1/vms", nil),
  ])
  func templatesOfPathsAsSent(path: String, template: String?) {
    #expect(router.template(ofRaw: path) == template)
  }

  @Test func parameters() {
    let found = router.find(["v1", "vms", "vm-0123456789ab", "vcpus", "3", "registers"])
    #expect(found?.parameters == PathParameters(vm: "vm-0123456789ab", index: 3, name: ""))
    #expect(router.find(["v1", "pools", "a-1"])?.parameters.name == "a-1")
  }

  @Test func everyTemplateFindsItself() {
    for route in Route.all {
      let path = route.template.replacing("{vm}", with: "vm-0123456789ab").replacing("{index}", with: "0")
        .replacing("{lease}", with: "lease-0123456789abcdef")
        .replacing("{image}", with: "spin").replacing("{pool}", with: "demo")
        .replacing("{digest}", with: "sha256:" + String(repeating: "0", count: 64))
      #expect(router.template(ofRaw: path) == route.template)
    }
  }
}

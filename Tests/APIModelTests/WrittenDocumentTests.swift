import APIModel
import JSONCodec
import Testing

/// What writes itself reads the same as what the encoder makes.
@Suite struct WrittenDocumentTests {
  private static let kicks = [
    KickDocument(
      vm: "vm-0123456789ab4a60", vcpu: 0, generation: 1, mechanism: "immediate_exit", phase: "guest", coalesced: false,
      signalsSent: 1, latencyNS: 28_412, signalLatencyNS: 21_904),
    KickDocument(
      vm: "vm-0123456789ab4a60", vcpu: 7, generation: 1 << 47, mechanism: "signal_mask", phase: "parked",
      coalesced: true,
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
    for count in 0...2 { try check(KickAllDocument(vm: "vm-0123456789ab4a60", kicks: Array(Self.kicks.prefix(count)))) }
  }

  @Test(arguments: texts) func leasesAndEvents(text: String) throws {
    try check(
      LeaseDocument(
        lease: "lease-5f0c2a9b1e7d4a60", pool: "p", vm: "vm-0123456789ab4a60", fence: 42,
        labels: ["b": text, text: "a"],
        grantedAt: "x", expiresAt: "y", maxExpiresAt: "z", tenant: text == "plain" ? nil : text))
    try check(EventDocument(type: "vm.running", at: "x", pool: text, vm: nil, lease: "l", detail: text))
    try check(EventDocument(type: "vm.stopped", at: "x", reason: text, exitCode: 255))
  }
}

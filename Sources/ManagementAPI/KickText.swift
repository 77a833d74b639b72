import APIModel
import HTTPServer

/// A kick's answer as JSON, written by hand: the encoder would be the dearest part of answering a kick. It takes
/// only words that need no escape (ids, phases, mechanisms), and a test holds it to what the encoder makes.
struct KickText {
  private(set) var bytes: [UInt8] = []

  /// One kick.
  init(_ kick: KickDocument) {
    bytes.reserveCapacity(256)
    put(kick)
  }

  /// All kicks of a VM.
  init(_ all: KickAllDocument) {
    bytes.reserveCapacity(64 + 256 * all.kicks.count)
    put("{\"vm\":\"")
    put(all.vm)
    put("\",\"kicks\":[")
    for (index, kick) in all.kicks.enumerated() {
      if index > 0 { put(",") }
      put(kick)
    }
    put("]}")
  }

  private mutating func put(_ kick: KickDocument) {
    put("{\"vm\":\"")
    put(kick.vm)
    put("\",\"vcpu\":")
    put(String(kick.vcpu))
    put(",\"generation\":")
    put(String(kick.generation))
    put(",\"mechanism\":\"")
    put(kick.mechanism)
    put("\",\"phase\":\"")
    put(kick.phase)
    put(kick.coalesced ? "\",\"coalesced\":true,\"signals_sent\":" : "\",\"coalesced\":false,\"signals_sent\":")
    put(String(kick.signalsSent))
    put(",\"latency_ns\":")
    put(String(kick.latencyNS))
    put(",\"signal_latency_ns\":")
    put(kick.signalLatencyNS.map { String($0) } ?? "null")
    put("}")
  }

  private mutating func put(_ text: String) { bytes += text.utf8 }

  /// The answer.
  var response: HTTPResponse { .dynamic(status: 200, type: "application/json", body: bytes) }
}

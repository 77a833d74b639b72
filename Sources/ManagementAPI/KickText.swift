import APIModel
import HTTPServer
import PoolManager
import VCPURuntime

/// A kick's answer as JSON, written by hand: the encoder would be the dearest part of answering a kick. It takes
/// only words that need no escape (ids, phases, mechanisms), and a test holds it to what the encoder makes.
struct KickText {
  private var text = JSONText(capacity: 256)

  var bytes: [UInt8] { text.bytes }

  /// The kicks of a VM: of one vCPU, or of all (nil).
  init(_ outcomes: [KickOutcome], of vm: VM, vcpu index: Int?) {
    let mechanism = vm.machine.configuration.mechanism
    if let index {
      put(KickDocument(outcomes[0], vm: vm.id, vcpu: index, mechanism: mechanism))
    } else {
      let kicks = outcomes.enumerated().map { KickDocument($1, vm: vm.id, vcpu: $0, mechanism: mechanism) }
      put(KickAllDocument(vm: vm.id, kicks: kicks))
    }
  }

  /// One kick.
  init(_ kick: KickDocument) { put(kick) }

  /// All kicks of a VM.
  init(_ all: KickAllDocument) { put(all) }

  private mutating func put(_ all: KickAllDocument) {
    text.put("{\"vm\":\"")
    text.put(all.vm)
    text.put("\",\"kicks\":[")
    for (index, kick) in all.kicks.enumerated() {
      if index > 0 { text.put(",") }
      put(kick)
    }
    text.put("]}")
  }

  private mutating func put(_ kick: KickDocument) {
    text.put("{\"vm\":\"")
    text.put(kick.vm)
    text.put("\",\"vcpu\":")
    text.put(kick.vcpu)
    text.put(",\"generation\":")
    text.put(kick.generation)
    text.put(",\"mechanism\":\"")
    text.put(kick.mechanism)
    text.put("\",\"phase\":\"")
    text.put(kick.phase)
    text.put(kick.coalesced ? "\",\"coalesced\":true,\"signals_sent\":" : "\",\"coalesced\":false,\"signals_sent\":")
    text.put(kick.signalsSent)
    text.put(",\"latency_ns\":")
    text.put(kick.latencyNS)
    text.put(",\"signal_latency_ns\":")
    text.put(kick.signalLatencyNS.map { String($0) } ?? "null")
    text.put("}")
  }

  /// The answer.
  var response: HTTPResponse { .json(bytes) }
}

import LinuxSupport
import MachineRuntime
internal import VCPURuntime

/// This server's side: a machine.
struct MachineVM: BenchmarkVM {
  private let machine: Machine
  private let vcpus: [VCPU]
  private static let patienceNS: UInt64 = 10_000_000_000

  init(_ machine: Machine) throws(BenchmarkError) {
    self.machine = machine
    do throws(MachineControlError) {
      var vcpus: [VCPU] = []
      for index in 0..<machine.configuration.vcpus { vcpus.append(try machine.vcpu(index)) }
      self.vcpus = vcpus
    } catch { throw .control(error) }
  }

  var vcpuCount: Int { vcpus.count }

  func start() throws(BenchmarkError) {
    do throws(MachineControlError) {
      try machine.start(untilNS: MonotonicClock.now() + Self.patienceNS)
    } catch { throw .control(error) }
  }

  func kick(_ vcpu: Int, patienceNS: UInt64) throws(BenchmarkError) -> KickSample? {
    do throws(KickError) {
      let vcpu = vcpus[vcpu]
      let ticket = try vcpu.request()
      guard let outcome = try acknowledgement(of: ticket, vcpu, untilNS: ticket.requestedAtNS + patienceNS) else {
        return nil
      }
      return KickSample(
        latencyNS: outcome.latencyNS, signalNS: outcome.signalLatencyNS, phase: outcome.phase,
        isCoalesced: outcome.coalesced, resent: max(0, outcome.signalsSent - 1))
    } catch { throw .kick(error) }
  }

  func kickAll(patienceNS: UInt64) throws(BenchmarkError) -> Bool {
    do throws(KickError) {
      let deadline = MonotonicClock.now() + patienceNS
      var tickets: [KickTicket] = []
      for vcpu in vcpus { tickets.append(try vcpu.request()) }
      var isComplete = true
      for (vcpu, ticket) in zip(vcpus, tickets) where try acknowledgement(of: ticket, vcpu, untilNS: deadline) == nil {
        isComplete = false
      }
      return isComplete
    } catch { throw .kick(error) }
  }

  /// Waits for a kick's acknowledgement; nil when the kick was lost. A lost kick's signal counts as outstanding, and later
  /// kicks would rely on it. So this waits for the same kick once more, which sends another signal.
  private func acknowledgement(of ticket: KickTicket, _ vcpu: VCPU, untilNS deadline: UInt64) throws(KickError)
    -> KickOutcome?
  {
    do throws(KickError) {
      return try vcpu.wait(for: ticket, untilNS: deadline)
    } catch {
      guard case .timedOut = error else { throw error }
      _ = try vcpu.wait(for: ticket, untilNS: MonotonicClock.now() + Self.patienceNS)
      return nil
    }
  }

  func exits() -> UInt64 {
    let exits = machine.counts.exits
    return exits["io", default: 0] + exits["mmio", default: 0]
  }

  func checkThatItRuns() throws(BenchmarkError) {
    if case .stopped(let stop) = machine.state { throw .stopped("\(stop)") }
  }

  func askToStop() throws(BenchmarkError) {
    do throws(KickError) {
      for vcpu in vcpus { _ = try vcpu.request(goal: .stop) }
    } catch { throw .kick(error) }
  }

  func destroy() { machine.destroy() }
}

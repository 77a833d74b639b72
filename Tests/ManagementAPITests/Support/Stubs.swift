import Devices
import GuestImages
import KVM
import PoolManager
import Synchronization

@testable import MachineRuntime
@testable import VCPURuntime

/// Makes machines that do as they are told, without KVM.
struct StubFactory: MachineFactory {
  /// Thrown instead of making a machine.
  var refusal: MachineCreationError?
  /// What each control operation of a machine does, first to last; afterwards they succeed.
  var controls: [MachineControlError?] = []

  func make(
    _ configuration: MachineConfiguration, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine {
    if let refusal { throw refusal }
    return StubMachine(configuration, controls)
  }
}

/// Makes machines without KVM, but lays their images out first and reads what is loaded, as one with it does.
struct LayingOutFactory: MachineFactory {
  func make(
    _ configuration: MachineConfiguration, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine {
    do throws(GuestLayoutError) {
      let memory = UInt64(configuration.memoryMiB) << 20
      for segment in try configuration.image.layout(memoryBytes: memory, vcpus: configuration.vcpus).segments {
        do throws(ImageReadError) { _ = try segment.bytes() } catch { throw .unreadable(error) }
      }
    } catch { throw .image(error) }
    return StubMachine(configuration, [])
  }
}

/// A machine that answers control operations as it was told.
final class StubMachine: ManagedMachine {
  let configuration: MachineConfiguration
  let console = Console()
  private let controls: Mutex<[MachineControlError?]>

  init(_ configuration: MachineConfiguration, _ controls: [MachineControlError?]) {
    self.configuration = configuration
    self.controls = Mutex(controls)
  }

  private func control() throws(MachineControlError) {
    if let error = controls.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { throw error }
  }

  var state: MachineState { .ready }
  func setArguments(_ chosen: GuestArguments) throws(MachineControlError) {}
  func start(limitNS: UInt64?, untilNS: UInt64) throws(MachineControlError) { try control() }
  func startAsleep() throws(MachineControlError) -> PendingWake {
    try control()
    return PendingWake {}
  }
  func requestStart(limitNS: UInt64?) throws(MachineControlError) -> PendingRequests {
    try control()
    return .none
  }
  func requestPause() throws(MachineControlError) -> PendingRequests { try requestStart(limitNS: nil) }
  func requestResume() throws(MachineControlError) -> PendingRequests { try requestStart(limitNS: nil) }
  func requestStop(_ reason: MachineStop) throws(MachineControlError) -> PendingRequests {
    try requestStart(limitNS: nil)
  }
  func pause(untilNS: UInt64) throws(MachineControlError) { try control() }
  func resume(untilNS: UInt64) throws(MachineControlError) { try control() }
  func stop(_ reason: MachineStop, untilNS: UInt64) throws(MachineControlError) { try control() }
  func requestKicks(vcpu: Int?) throws(MachineControlError) -> PendingKicks {
    try control()
    return PendingKicks(requests: [], requestedAtNS: 0)
  }
  func requestRegisters(vcpu: Int) throws(MachineControlError) -> PendingRegisters {
    try control()
    throw .failed("there are none")
  }
  func statistics(of index: Int) throws(MachineControlError) -> VCPUStatistics {
    throw .noSuchVCPU(index: index, count: configuration.vcpus)
  }
  var vcpuStatistics: [VCPUStatistics] { [] }
  var residentBytes: Int { 0 }
  var counts: VCPUCounts { VCPUCounts() }
  func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int { console.offer(bytes) }
  func makeTemplate(untilNS: UInt64) throws(MachineTemplateError) -> any ManagedTemplate { throw .noTemplate }
  func reset() throws(MachineTemplateError) -> Int { throw .noTemplate }
  func differences(untilNS: UInt64) throws(MachineTemplateError) -> [String] { throw .noTemplate }
  func destroy() {}
}

/// Makes real machines whose answers never come: those who wait ask for a generation that never comes.
struct DeafFactory: MachineFactory {
  let real: KVMMachineFactory
  /// Called each time that a pause, a resume, a start or a stop has been published.
  var published: @Sendable (any ManagedMachine) -> Void = { _ in }

  func make(
    _ configuration: MachineConfiguration, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine {
    DeafMachine(try real.make(configuration, changed: changed), published)
  }
}

final class DeafMachine: ManagedMachine {
  private let real: any ManagedMachine

  private let published: @Sendable (any ManagedMachine) -> Void

  init(_ real: any ManagedMachine, _ published: @escaping @Sendable (any ManagedMachine) -> Void) {
    self.real = real
    self.published = published
  }

  private func unanswered(_ requests: [PendingRequest], _ requestedAtNS: UInt64) -> [PendingRequest] {
    requests.map { request in
      let ticket = KickTicket(generation: 1 << 40, requestedAtNS: requestedAtNS, coalesced: false, signalsSent: 1)
      return PendingRequest(vcpu: request.vcpu, ticket: .success(ticket))
    }
  }

  private func unanswered(_ pending: PendingRequests) -> PendingRequests {
    published(real)
    return PendingRequests(
      requests: unanswered(pending.requests, pending.requestedAtNS), requestedAtNS: pending.requestedAtNS)
  }

  func requestStart(limitNS: UInt64?) throws(MachineControlError) -> PendingRequests {
    unanswered(try real.requestStart(limitNS: limitNS))
  }
  func requestPause() throws(MachineControlError) -> PendingRequests { unanswered(try real.requestPause()) }
  func requestResume() throws(MachineControlError) -> PendingRequests { unanswered(try real.requestResume()) }
  func requestStop(_ reason: MachineStop) throws(MachineControlError) -> PendingRequests {
    unanswered(try real.requestStop(reason))
  }

  func requestKicks(vcpu index: Int?) throws(MachineControlError) -> PendingKicks {
    let kicks = try real.requestKicks(vcpu: index)
    let requests = unanswered(kicks.requests, kicks.requestedAtNS)
    return PendingKicks(requests: requests, requestedAtNS: kicks.requestedAtNS)
  }

  var configuration: MachineConfiguration { real.configuration }
  var state: MachineState { real.state }
  var console: Console { real.console }
  func setArguments(_ chosen: GuestArguments) throws(MachineControlError) { try real.setArguments(chosen) }
  func start(limitNS: UInt64?, untilNS end: UInt64) throws(MachineControlError) {
    try real.start(limitNS: limitNS, untilNS: end)
  }
  func startAsleep() throws(MachineControlError) -> PendingWake { try real.startAsleep() }
  func pause(untilNS end: UInt64) throws(MachineControlError) { try real.pause(untilNS: end) }
  func resume(untilNS end: UInt64) throws(MachineControlError) { try real.resume(untilNS: end) }
  func stop(_ reason: MachineStop, untilNS end: UInt64) throws(MachineControlError) {
    try real.stop(reason, untilNS: end)
  }
  func requestRegisters(vcpu: Int) throws(MachineControlError) -> PendingRegisters {
    try real.requestRegisters(vcpu: vcpu)
  }
  func statistics(of index: Int) throws(MachineControlError) -> VCPUStatistics { try real.statistics(of: index) }
  var vcpuStatistics: [VCPUStatistics] { real.vcpuStatistics }
  var residentBytes: Int { 0 }
  var counts: VCPUCounts { real.counts }
  func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int { try real.offerInput(bytes) }
  func makeTemplate(untilNS end: UInt64) throws(MachineTemplateError) -> any ManagedTemplate {
    try real.makeTemplate(untilNS: end)
  }
  func reset() throws(MachineTemplateError) -> Int { try real.reset() }
  func differences(untilNS end: UInt64) throws(MachineTemplateError) -> [String] { try real.differences(untilNS: end) }
  func destroy() { real.destroy() }
}

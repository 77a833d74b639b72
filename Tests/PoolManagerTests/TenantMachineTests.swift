import GuestImages
import MachineRuntime
import Synchronization
import Testing
import VCPURuntime

@testable import PoolManager

/// What those see of a machine who knew it before its reset.
@Suite struct TenantMachineTests {
  private let machine: FakeMachine

  init() throws {
    let configuration = MachineConfiguration(
      image: .builtin(try #require(BuiltinGuest.named("hello"))), vcpus: 1, memoryMiB: 2, mechanism: .immediateExit)
    machine = try #require(try FakeFactory {}.make(configuration) { _ in } as? FakeMachine)
  }

  private func tenant() -> TenantMachine { TenantMachine(machine, since: TenantMachine.Baseline()) }

  private func text(_ tenant: TenantMachine) -> String {
    String(decoding: tenant.readConsole(from: 0, limit: 100).bytes, as: UTF8.self)
  }

  @Test func afterItsTenureItShowsWhatWasAndRefusesTheRest() throws {
    let first = tenant()
    try first.start(untilNS: 0)
    machine.console.append(Array("mine".utf8))
    try machine.stop(.killed, untilNS: 0)
    first.close {}
    _ = first.end()
    machine.console.reset()
    let second = tenant()
    #expect(try second.offerInput([1]) == 1)
    machine.console.append(Array("theirs".utf8))
    try machine.start(limitNS: nil, untilNS: 0)
    #expect(text(first) == "mine" && first.consoleBytes == 4 && first.state == .stopped(.killed))
    #expect(text(second) == "theirs" && second.state == .running)
    #expect(first.residentBytes == 0 && first.vcpuStatistics.isEmpty)
    #expect(throws: MachineControlError.deleted) { try first.requestPause() }
    #expect(throws: MachineControlError.deleted) { try first.requestResume() }
    #expect(throws: MachineControlError.deleted) { try first.requestStart() }
    #expect(throws: MachineControlError.deleted) { try first.start(untilNS: 0) }
    #expect(throws: MachineControlError.deleted) { try first.startAsleep() }
    #expect(throws: MachineControlError.deleted) { try first.requestStop() }
    #expect(throws: MachineControlError.deleted) { try first.requestKicks(vcpu: nil) }
    #expect(throws: MachineControlError.deleted) { try first.requestRegisters(vcpu: 0) }
    #expect(throws: MachineControlError.deleted) { try first.statistics(of: 0) }
    #expect(throws: MachineControlError.deleted) { try first.offerInput([2]) }
    #expect(throws: MachineControlError.deleted) { try first.setArguments(GuestArguments(commandLine: "x")) }
    #expect(machine.state == .running && machine.told.withLock { $0.isEmpty })
    #expect(machine.console.takeInput() == 1 && machine.console.takeInput() == nil)
  }

  /// A request that is on its way is not overtaken by the reset.
  @Test func aTenureEndsWhenTheLastRequestHasArrived() throws {
    let tenant = tenant()
    let isIdle = Mutex(false)
    machine.onInput.withLock {
      $0 = {
        tenant.close { isIdle.withLock { $0 = true } }
        #expect(!isIdle.withLock { $0 })
        #expect(throws: MachineControlError.deleted) { try tenant.requestPause() }
      }
    }
    #expect(try tenant.offerInput([1]) == 1)
    #expect(isIdle.withLock { $0 })
  }
}

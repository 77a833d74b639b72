import Testing
import VCPURuntime

@testable import MachineRuntime

/// Runs of a VM that is reset: what belongs to one of them does nothing to the next.
@Suite(.serialized, .enabled(if: RealVM.isAvailable)) struct RunNumberTests {
  private func reset(_ machine: Machine) throws { try machine.requestReset().wait(untilNS: RealVM.soon) }

  @Test func aStoppedVMIsReadyAfterAResetAndRunsAgain() throws {
    let changes = Changes()
    let machine = try RealVM.make("spin", vcpus: 2, changes: changes)
    defer { machine.destroy() }
    for _ in 0..<3 {
      try machine.start(untilNS: RealVM.soon)
      #expect(throws: MachineControlError.invalidState(operation: "reset", .running)) { try reset(machine) }
      _ = try machine.requestKicks(vcpu: nil).wait(untilNS: RealVM.soon)
      try machine.stop(untilNS: RealVM.soon)
      let before = machine.counts
      try reset(machine)
      #expect(machine.state == .ready)
      #expect(machine.counts == before, "counts never go backwards")
    }
    let round: [MachineState] = [.running, .stopped(.killed), .ready]
    #expect(changes.all == round + round + round)
  }

  @Test func aDeadlineOrAnEndOfAnEarlierRunDoesNothing() throws {
    let changes = Changes()
    let machine = try RealVM.make("spin", changes: changes)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    try machine.stop(untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .killed)
    try reset(machine)
    try machine.start(untilNS: RealVM.soon)
    machine.core.on(.deadline(run: 0))
    machine.core.vcpuFinished(index: 0, run: 0, .crashed("late"))
    machine.core.vcpuParkedForGood(index: 0, run: 0)
    _ = try machine.requestKicks(vcpu: nil).wait(untilNS: RealVM.soon)
    #expect(machine.state == .running)
    #expect(!(machine.core.on(.pause).isRefused), "it is not about to stop")
    machine.core.on(.deadline(run: 1))
    #expect(changes.waitForStop() == .deadline)
  }

  @Test func eachRunHasADeadlineOfItsOwn() throws {
    let changes = Changes()
    let machine = try RealVM.make("spin", changes: changes)
    defer { machine.destroy() }
    try machine.start(limitNS: 3_600_000_000_000, untilNS: RealVM.soon)
    try machine.stop(untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .killed)
    try reset(machine)
    try machine.start(limitNS: 1_000_000, untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .deadline)
  }

  /// The memory is unmapped, and no vCPU is left.
  @Test func aVMThatWasTakenApartIsNotReset() throws {
    let machine = try RealVM.make("spin")
    machine.destroy()
    #expect(throws: MachineControlError.invalidState(operation: "reset", .stopped(.killed))) { try reset(machine) }
  }
}

extension MachineCore.Outcome {
  fileprivate var isRefused: Bool { if case .refused = self { true } else { false } }
}

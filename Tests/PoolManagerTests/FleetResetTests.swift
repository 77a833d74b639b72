import Dispatch
import GuestImages
import LinuxSupport
import MachineRuntime
import Synchronization
import TestSupport
import Testing
import VCPURuntime

@testable import PoolManager

/// Pools whose VMs are reset, on machines that are not there.
@Suite struct FleetResetTests {
  private let factory = FakeFactory {}
  private let events = EventRecorder()
  private let fleet: Fleet
  private static let second: UInt64 = 1_000_000_000

  init() {
    let events = events
    fleet = Fleet(
      factory: factory, mechanism: .immediateExit, limits: FleetLimits(creations: 2), observer: { events.append($0) })
  }

  /// Declares a pool of one VM, and waits for it.
  private func declare(_ verification: ResetVerification = .full, on other: Fleet? = nil) throws {
    let image = try #require(BuiltinGuest.named("hello"))
    let fleet = other ?? fleet
    try fleet.declare(
      "p",
      PoolSpecification(
        vm: VMSpecification(image: .builtin(image), vcpus: 1, memoryMiB: 2), ready: 1...1, maxVMs: 1,
        readyPoint: .started, resetsVMs: true, verification: verification))
    try wait("one is ready", on: fleet) { $0.ready == 1 }
  }

  private func wait(_ what: String, on other: Fleet? = nil, until isSo: (PoolStatus) -> Bool) throws {
    try waitUntil(what) { (try? (other ?? fleet).pool("p")).map(isSo) ?? false }
  }

  private func lease(on other: Fleet? = nil) throws -> Lease {
    let request = LeaseRequest(ttlNS: 3600 * Self.second, waitNS: 0, origin: .server)
    guard case .granted(let lease) = try (other ?? fleet).lease(from: "p", request, later: { _ in }) else {
      throw LeaseRefusal.draining
    }
    return lease
  }

  private func release(_ lease: Lease, on other: Fleet? = nil) {
    #expect((other ?? fleet).end(lease.id, as: .released, by: .server))
  }

  private var counts: [ResetCounts.Result: UInt64] {
    Dictionary(uniqueKeysWithValues: fleet.metrics.last?.measurements.resets.snapshot.map { ($0, $1) } ?? [])
  }

  @Test func oneMachineIsOneVMAfterTheOther() throws {
    try declare()
    var ids: Set<String> = []
    var last: Lease?
    for round in 1...5 {
      let lease = try lease()
      #expect(ids.insert(lease.vm.id).inserted && lease.fence > last?.fence ?? 0)
      #expect(lease.vm.machine.state == .ready && lease.vm.machine.consoleBytes == 0)
      try lease.vm.machine.start(untilNS: 0)
      _ = try lease.vm.machine.offerInput([UInt8(round)])
      if let last {
        // Who was here before reaches nothing any more.
        #expect(throws: MachineControlError.deleted) { try last.vm.machine.requestPause() }
        #expect(last.vm.machine.state == .stopped(.killed) && last.vm.lease == nil)
        #expect(throws: FleetError.self) { try fleet.vm(last.vm.id) }
        let late = #expect(throws: FleetError.self) { try fleet.vm(last.vm.id, fence: last.fence, isTaken: true) }
        if case .staleFence? = late {} else { Issue.record("\(String(describing: late))") }
        #expect(throws: FleetError.self) { try fleet.vm(lease.vm.id, fence: last.fence, isTaken: true) }
      }
      #expect(lease.vm.machine.state == .running)
      last = lease
      release(lease)
      try wait("it is ready again") { $0.ready == 1 && $0.resetting == 0 }
    }
    #expect(factory.made.map(\.isClone) == [false, true])
    #expect(factory.made[1].resets.load(ordering: .relaxed) == 5)
    #expect(counts == [.ok: 5, .failed: 0, .differed: 0])
    #expect(fleet.metrics.last?.measurements.resets.pages == 15)
    #expect(fleet.metrics.last?.measurements.resetTime.snapshot().count == 5)
    // The tables know the machine under its last name alone.
    let vms = fleet.vms(of: "p", after: nil, limit: 10).vms
    #expect(vms.count == 1 && !ids.contains(vms[0].id))
    #expect(fleet.metrics.last?.vms["ready"] == 1 && fleet.metrics.last?.vms["resetting"] ?? 0 == 0)
  }

  @Test func aGuestThatHasEndedByItselfIsResetToo() throws {
    try declare()
    let lease = try lease()
    factory.made[1].letGo()
    #expect(lease.vm.machine.state == .stopped(.killed))
    release(lease)
    try wait("it is ready again") { $0.ready == 1 }
    #expect(factory.made.count == 2)
  }

  @Test(arguments: [(ResetVerification.off, 0), (.sampled, 1), (.full, 3)])
  func asManyAreComparedAsDeclared(verification: ResetVerification, comparisons: Int) throws {
    try declare(verification)
    for _ in 0..<3 {
      release(try lease())
      try wait("it is ready again") { $0.ready == 1 }
    }
    #expect(factory.made[1].comparisons.load(ordering: .relaxed) == comparisons)
    #expect((0..<130).filter { ResetVerification.sampled.includes($0) } == [0, 64, 128])
  }

  @Test(arguments: [FakeFactory.Reset.fails, .differs(["memory at 0x1000", "console"])])
  func aVMThatIsNotWhatItWasIsDestroyedAndReplaced(reset: FakeFactory.Reset) throws {
    factory.reset.withLock { $0 = reset }
    try declare()
    let lease = try lease()
    factory.reset.withLock { $0 = .works }
    release(lease)
    try wait("another one is ready") { $0.ready == 1 && $0.retiring == 0 && $0.resetting == 0 }
    #expect(factory.made.count == 3 && factory.made[1].isDestroyed && !factory.made[2].isDestroyed)
    let notes = events.names.filter { $0.contains("reset") }
    if case .differs = reset {
      #expect(counts == [.ok: 0, .failed: 0, .differed: 1])
      #expect(notes == ["resetDiffers p memory at 0x1000, console"])
    } else {
      #expect(counts == [.ok: 0, .failed: 1, .differed: 0])
      #expect(notes.count == 1 && notes[0].hasPrefix("resetFailed p "))
    }
  }

  /// Nothing reaches a VM while it is being reset, and who waits gets it afterwards.
  @Test func aVMThatIsBeingResetIsNobodys() throws {
    let semaphore = DispatchSemaphore(value: 0)
    factory.reset.withLock { $0 = .waits(semaphore) }
    try declare()
    let first = try lease()
    try first.vm.machine.start(untilNS: 0)
    release(first)
    try wait("it is being reset") { $0.resetting == 1 }
    try waitUntil("it is counted so") { fleet.metrics.last?.vms["resetting"] == 1 }
    try waitUntil("its tenure is over") { (try? first.vm.machine.offerInput([])) == nil }
    #expect(throws: MachineControlError.deleted) { try first.vm.machine.requestPause() }
    #expect(throws: FleetError.self) { try fleet.vm(first.vm.id, fence: nil, isTaken: true) }
    #expect(throws: FleetError.self) { try fleet.delete(first.vm.id, fence: first.fence) { _ in } }
    #expect(fleet.vms(of: "p", after: nil, limit: 10).vms.isEmpty)
    let granted = Mutex<Lease?>(nil)
    let request = LeaseRequest(ttlNS: Self.second, waitNS: 3600 * Self.second, origin: .server)
    let answer = try fleet.lease(from: "p", request) { result in granted.withLock { $0 = try? result.get() } }
    guard case .waiting = answer else { return #expect(Bool(false), "there is a VM") }
    semaphore.signal()
    try waitUntil("who waits is served") { granted.withLock { $0 != nil } }
    #expect(granted.withLock { $0?.vm.id } != first.vm.id && factory.made.count == 2)
    semaphore.signal()
  }

  @Test func aPoolThatIsDeletedMeanwhileIsGoneAfterTheReset() throws {
    let semaphore = DispatchSemaphore(value: 0)
    factory.reset.withLock { $0 = .waits(semaphore) }
    try declare()
    release(try lease())
    try wait("it is being reset") { $0.resetting == 1 }
    let isGone = Mutex(false)
    try fleet.deletePool("p", whenGone: { isGone.withLock { $0 = true } })
    #expect(!isGone.withLock { $0 } && !factory.made[1].isDestroyed)
    semaphore.signal()
    try waitUntil("the pool is gone") { isGone.withLock { $0 } }
    #expect(factory.made[1].isDestroyed)
  }

  @Test func aVMThatAClientDeletesIsNotReset() throws {
    try declare()
    let lease = try lease()
    try fleet.delete(lease.vm.id, fence: lease.fence) { _ in }
    try wait("another one is ready") { $0.ready == 1 && $0.retiring == 0 }
    #expect(factory.made[1].isDestroyed && factory.made[1].resets.load(ordering: .relaxed) == 0)
  }

  /// A vCPU that is not brought to a stand in time: the VM never comes back, even if it stops later.
  @Test func aVMThatHangsIsNeverReset() throws {
    let limits = FleetLimits(creations: 2, retirementNS: 10_000_000)
    let fleet = Fleet(factory: factory, mechanism: .immediateExit, limits: limits)
    // The machine that boots has to stop.
    try declare(on: fleet)
    factory.made[1].hang()
    release(try lease(on: fleet), on: fleet)
    try wait("it is quarantined", on: fleet) { $0.quarantined == 1 && $0.resetting == 0 }
    factory.made[1].letGo()
    try wait("another one is ready", on: fleet) { $0.ready == 1 && $0.quarantined == 0 }
    #expect(factory.made[1].isDestroyed && factory.made[1].resets.load(ordering: .relaxed) == 0)
  }

  /// That a machine has stopped may be said late. It must not be said of the VM that comes next.
  @Test func theResetComesAfterTheAnnouncement() throws {
    try declare()
    let machine = factory.made[1]
    let lease = try lease()
    machine.isSilent.store(true, ordering: .relaxed)
    release(lease)
    try waitUntil("it has stopped") { machine.state != .ready }
    try wait("it is being reset") { $0.resetting == 1 }
    machine.announce()
    try wait("it is ready again") { $0.ready == 1 }
    let isEarly = machine.wasResetEarly.load(ordering: .relaxed)
    #expect(!isEarly)
  }
}

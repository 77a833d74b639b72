import GuestImages
import LinuxSupport
import MachineRuntime
import PoolManager
import Synchronization
import TestSupport
import Testing
import VCPURuntime

/// Pools of VMs that have booted, on machines that are not there.
@Suite struct FleetTemplateTests {
  private let factory = FakeFactory {}
  private let fleet: Fleet
  private static let second: UInt64 = 1_000_000_000

  init() {
    fleet = Fleet(factory: factory, mechanism: .immediateExit, limits: FleetLimits(creations: 2))
  }

  private func specification(
    _ ready: Int, _ point: ReadyPoint, image: String = "hello", timeoutNS: UInt64 = 3600 * second
  ) throws -> PoolSpecification {
    let image = try #require(BuiltinGuest.named(image))
    return PoolSpecification(
      vm: VMSpecification(image: .builtin(image), vcpus: 1, memoryMiB: 2), ready: ready...ready, readyPoint: point,
      readyTimeoutNS: timeoutNS)
  }

  private func wait(_ what: String, until isSo: (PoolStatus) -> Bool) throws {
    try waitUntil(what) { (try? fleet.pool("p")).map(isSo) ?? false }
  }

  @Test(arguments: [ReadyPoint.started, .console("login:"), .after(ns: 1)])
  func allVMsAreClonesOfOneThatIsNoPoolsVM(point: ReadyPoint) throws {
    factory.output.withLock { $0 = "Debian login:" }
    try fleet.declare("p", specification(3, point))
    try wait("three are ready") { $0.ready == 3 }
    let status = try fleet.pool("p").template
    #expect(status.state == .ready && status.memoryBytes == 4096 && status.bootNS != nil)
    #expect(factory.made.map(\.isClone) == [false, true, true, true])
    #expect(factory.made[0].isDestroyed && fleet.vms(of: "p", after: nil, limit: 10).vms.count == 3)
    let metrics = try #require(fleet.metrics.last)
    #expect(metrics.template?.state == .ready && metrics.vms["ready"] == 3)
    // The place of a VM that was leased is taken by another clone.
    guard
      case .granted(let lease) = try fleet.lease(
        from: "p", LeaseRequest(ttlNS: Self.second, waitNS: 0, origin: .server), later: { _ in })
    else { return #expect(Bool(false), "there is no VM") }
    #expect(fleet.end(lease.id, as: .released, by: .server))
    try wait("three are ready again") { $0.ready == 3 && $0.retiring == 0 }
    #expect(factory.made.count { !$0.isClone } == 1)
  }

  @Test func aGuestThatIsNeverReadyIsSeenInThePoolsStatus() throws {
    factory.output.withLock { $0 = "no root device\n" }
    try fleet.declare("p", specification(1, .console("login:"), timeoutNS: 20_000_000))
    try wait("the template has failed") { $0.template.state == .failed }
    let status = try fleet.pool("p")
    #expect(status.refill.lastError?.contains("its guest did not print the text within 20 ms") == true)
    #expect(status.refill.lastError?.hasSuffix("its console ends with: no root device\\n") == true)
    #expect(status.ready == 0 && factory.made[0].isDestroyed)
    // A declaration that is right is a new chance.
    try fleet.declare("p", specification(1, .console("root")))
    try wait("one is ready") { $0.ready == 1 }
  }

  @Test func aGuestThatEndsIsSeenInThePoolsStatus() throws {
    factory.ends.store(true, ordering: .relaxed)
    try fleet.declare("p", specification(1, .console("login:")))
    try wait("the template has failed") { $0.template.state == .failed }
    let error = try fleet.pool("p").refill.lastError
    #expect(error?.contains("its guest ended before: exited; it has printed nothing") == true, "\(error ?? "")")
  }

  @Test func deletingThePoolEndsTheBoot() throws {
    try fleet.declare("p", specification(1, .console("never")))
    try waitUntil("it boots") { factory.made.first?.state == .running }
    #expect(try fleet.pool("p").template.state == .booting)
    let isGone = Mutex(false)
    try fleet.deletePool("p", whenGone: { isGone.withLock { $0 = true } })
    try waitUntil("the pool is gone") { isGone.withLock { $0 } }
    #expect(factory.made.count == 1 && factory.made[0].isDestroyed)
  }

  @Test func anotherDeclarationEndsTheBootAndKeepsTheVMsThereAre() throws {
    try fleet.declare("p", specification(2, .loaded))
    try wait("two are ready") { $0.ready == 2 }
    try fleet.declare("p", specification(2, .console("never")))
    try wait("it boots") { $0.template.state == .booting && $0.outdated == 2 }
    factory.output.withLock { $0 = "login:" }
    try fleet.declare("p", specification(2, .console("login:")))
    try wait("both are replaced") { $0.ready == 2 && $0.outdated == 0 && $0.retiring == 0 }
    #expect(factory.made.suffix(2).allSatisfy { $0.isClone })
    #expect(factory.made.filter { !$0.isClone }.allSatisfy { $0.isDestroyed })
  }

  @Test func theServersEndIsTheBootsEnd() throws {
    try fleet.declare("p", specification(1, .console("never")))
    try waitUntil("it boots") { factory.made.first?.state == .running }
    fleet.beginDraining()
    #expect(fleet.stopAll(untilNS: MonotonicClock.now() + Self.second).isEmpty)
    try waitUntil("it is destroyed") { factory.made[0].isDestroyed }
  }
}

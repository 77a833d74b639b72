import APIModel
import HTTPServer
import TestSupport
import Testing

@testable import ManagementAPI

/// What would have to wait is refused where as many requests wait as may; what need not wait is served.
@Suite struct WaitingLimitTests {
  private let harness: Harness

  init() throws {
    harness = Harness(factory: StubFactory(), load: HTTPLoad(waitingLimit: 0))
    let reply = harness.send("PUT", "/v1/pools/p", #"{"image":"halt","ready":1,"max_vms":1}"#)
    try #require(reply.status == 201, "\(reply.text)")
  }

  /// The VM of a lease, which the pool's only VM is when this returns.
  private func lease() throws -> String {
    var vm: String?
    try waitUntil("the pool has a VM") {
      let reply = harness.send("POST", "/v1/pools/p/leases", #"{"start":false}"#)
      if reply.status == 201 { vm = try reply.document(LeaseDocument.self).vm }
      try #require(vm != nil || reply.problem?.kind == "pool-exhausted", "\(reply.text)")
      return vm != nil
    }
    return try #require(vm)
  }

  private func expectRefused(_ reply: Reply, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(
      reply.status == 429 && reply.problem?.kind == "too-many-waiting" && reply["Retry-After"] == "1",
      "\(reply.text)", sourceLocation: sourceLocation)
  }

  @Test func aLeaseThatWouldHaveToWaitIsRefusedAndLeavesTheQueue() throws {
    let vm = try lease()
    expectRefused(harness.send("POST", "/v1/pools/p/leases", #"{"wait_ms":60000}"#))
    #expect(harness.metrics()[#"vmpool_pool_waiting{pool="p"}"#] == 0)
    #expect(harness.send("DELETE", "/v1/vms/\(vm)").status == 204)
    _ = try lease()
  }

  @Test func aRunIsRefusedBeforeItTakesAVM() throws {
    expectRefused(harness.send("POST", "/v1/pools/p/run", "{}"))
    _ = try lease()
  }

  @Test func waitingForAStateIsRefusedWhereTheVMIsInAnother() throws {
    let vm = try lease()
    expectRefused(harness.send("GET", "/v1/vms/\(vm)?wait_for=stopped"))
    #expect(harness.send("GET", "/v1/vms/\(vm)?wait_for=ready").status == 200)
  }

  @Test func aStreamOfEventsIsRefused() {
    expectRefused(harness.send("GET", "/v1/events"))
  }
}

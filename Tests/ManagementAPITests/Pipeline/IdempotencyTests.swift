import APIModel
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ManagementAPI

/// What a request with an `Idempotency-Key` gets when it comes again.
@Suite(.enabled(if: RealKVM.isAvailable)) struct IdempotencyTests {
  private func post(_ harness: Harness, _ target: String, _ body: String) -> Reply {
    harness.send("POST", target, body, headers: [("Host", "localhost"), ("Idempotency-Key", "key")])
  }

  /// Makes something twice with one key, ends it, and makes it twice again.
  private func expectAnew(_ harness: Harness, _ target: String, _ body: String) throws {
    var places: Set<String> = []
    for _ in 0..<2 {
      let first = post(harness, target, body)
      #expect(first.status == 201 && first["Idempotent-Replayed"] == nil, "\(first.text)")
      let again = post(harness, target, body)
      #expect(again.status == 201 && again["Idempotent-Replayed"] == "true" && again.body == first.body)
      let place = try #require(first["Location"])
      #expect(harness.send("GET", place).status == 200)
      #expect(places.insert(place).inserted, "\(place) has ended")
      #expect(harness.send("DELETE", place).status == 204)
    }
  }

  @Test func theKeyOfAVMThatIsDeletedIsForgotten() throws {
    try expectAnew(try Harness(), "/v1/vms", #"{"image":"spin"}"#)
  }

  @Test func theKeyOfALeaseThatHasEndedIsForgotten() throws {
    let harness = try Harness()
    #expect(harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":1}"#).status == 201)
    try expectAnew(harness, "/v1/pools/p/leases", #"{"wait_ms":30000}"#)
  }

  @Test func aRunStaysAnsweredThoughItsLeaseHasEnded() throws {
    let harness = try Harness()
    #expect(harness.send("PUT", "/v1/pools/p", #"{"image":"hello","ready":1}"#).status == 201)
    let first = post(harness, "/v1/pools/p/run", #"{"wait_ms":30000}"#)
    #expect(first.status == 200 && harness.fleet.leases().isEmpty)
    let again = post(harness, "/v1/pools/p/run", #"{"wait_ms":30000}"#)
    #expect(again.status == 200 && again["Idempotent-Replayed"] == "true" && again.body == first.body)
  }

  /// Of many that ask again for a lease that has ended, one begins anew. The others get its answer, or are to come later.
  @Test func oneOfManyBeginsAnew() throws {
    let harness = try Harness()
    #expect(harness.send("PUT", "/v1/pools/p", #"{"image":"spin","ready":8}"#).status == 201)
    _ = try harness.wait(forReady: 8, in: "p")
    let first = try post(harness, "/v1/pools/p/leases", "{}").document(LeaseDocument.self)
    #expect(harness.send("DELETE", "/v1/leases/\(first.lease)").status == 204)
    let replies = Mutex<[Reply]>([])
    DispatchQueue.concurrentPerform(iterations: 8) { _ in
      let reply = post(harness, "/v1/pools/p/leases", "{}")
      replies.withLock { $0.append(reply) }
    }
    let granted = replies.withLock { $0 }.filter { $0.status == 201 }
    #expect(Set(granted.map(\.text)).count == 1)
    #expect(replies.withLock { $0 }.allSatisfy { [201, 409].contains($0.status) })
    #expect(harness.fleet.leases().count == 1)
  }
}

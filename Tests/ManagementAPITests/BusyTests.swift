import APIModel
import HTTPServer
import LinuxSupport
import TestSupport
import Testing

@testable import ManagementAPI

/// What the server has too few threads for is refused; everything else goes on.
@Suite struct BusyTests {
  @Test func workBeyondTheWorkersIsRefusedAndTheRestIsServed() throws {
    let harness = Harness(factory: StubFactory())
    let made = harness.send("POST", "/v1/vms", #"{"image":"halt"}"#)
    let vm = try made.document(VMDocument.self).id
    try waitUntil("the thread that made it is idle again") { harness.api.workers.load.running == 0 }
    // As many pieces of work as there are threads and places, each of which blocks.
    let gate = CountingSemaphore()
    var taken = 0
    while (try? harness.api.workers.submit { gate.wait() }) != nil { taken += 1 }
    defer { for _ in 0..<taken { gate.signal() } }
    try #require(taken == 16 + 256)
    for (method, path, body) in [
      ("POST", "/v1/vms", #"{"image":"halt"}"#), ("DELETE", "/v1/images/none", ""),
      ("PUT", "/v1/images/machine?kind=flat&mode=real16", "\u{F4}"),
    ] {
      let headers = [
        ("Host", "localhost:8080"), ("Content-Type", method == "PUT" ? "application/octet-stream" : "application/json"),
      ]
      let reply = harness.send(method, path, body, headers: headers)
      #expect(
        reply.status == 503 && reply.problem?.kind == "server-busy" && reply["Retry-After"] == "1",
        "\(method) \(path): \(reply.text)")
    }
    // A VM that is deleted occupies no such thread while it stops.
    #expect(harness.send("DELETE", "/v1/vms/\(vm)").status == 204)
    for path in ["/livez", "/readyz", "/metrics", "/v1/vms", "/v1/pools", "/v1/images", "/v1/blobs"] {
      #expect(harness.send("GET", path).status == 200, "\(path)")
    }
  }
}

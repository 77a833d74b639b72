import APIModel
import Testing

@testable import ManagementAPI

@Suite(.enabled(if: RealKVM.isAvailable)) struct ConsoleTests {
  @Test func outputByOffset() throws {
    let harness = try Harness()
    let vm = try harness.wait(for: "stopped", of: try harness.create(#"{"image":"hello"}"#).id)
    let path = "/v1/vms/\(vm.id)/console"
    let all = harness.send("GET", path)
    #expect(all["Content-Type"] == "application/octet-stream")
    #expect(all.text.hasPrefix("Hello from vmpool"))
    #expect(all["X-Console-Start-Offset"] == "0" && all["X-Console-Next-Offset"] == "\(vm.consoleBytes)")
    let piece = harness.send("GET", path + "?offset=6&limit=4")
    #expect(piece.text == "from")
    #expect(piece["X-Console-Start-Offset"] == "6" && piece["X-Console-Next-Offset"] == "10")
    let past = harness.send("GET", path + "?offset=9223372036854775807")
    #expect(past.status == 200 && past.body.isEmpty)
    #expect(past["X-Console-Start-Offset"] == "\(vm.consoleBytes)")
    #expect(past["X-Console-Next-Offset"] == "\(vm.consoleBytes)")
  }

  @Test func inputIsEchoed() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"echo","start":false}"#).id
    let accepted = try harness.send("POST", "/v1/vms/\(id)/console", "abc").document(ConsoleWriteDocument.self)
    #expect(accepted.accepted == 3)
    harness.send("POST", "/v1/vms/\(id)/start")
    harness.send("POST", "/v1/vms/\(id)/console", "def\u{4}")
    let vm = try harness.wait(for: "stopped", of: id)
    #expect(vm.stop?.exitCode == 0)
    #expect(harness.send("GET", "/v1/vms/\(id)/console").text.hasPrefix("abcdef"))
    #expect(harness.send("POST", "/v1/vms/\(id)/console", "x").status == 409)
  }

  @Test func inputThatDoesNotFit() throws {
    let harness = try Harness()
    let id = try harness.create(#"{"image":"echo","start":false}"#).id
    let path = "/v1/vms/\(id)/console"
    func accepted(_ count: Int) throws -> Int {
      let input = String(repeating: "x", count: count)
      return try harness.send("POST", path, input).document(ConsoleWriteDocument.self).accepted
    }
    #expect(try accepted(0) == 0)
    #expect(try accepted(65_436) == 65_436)
    #expect(try accepted(101) == 100)
    #expect(try accepted(1) == 0)
    #expect(harness.send("POST", path, String(repeating: "x", count: 65_537)).status == 413)
    // A chunked body tells its length only when it is there.
    var request = Harness.request("POST", path, [UInt8](repeating: 0, count: 65_537), [("Host", "localhost")])
    request.head.contentLength = nil
    guard case .collect = harness.api.admit(&request.head) else { Issue.record("it is refused early"); return }
    #expect(harness.answer(request).status == 413)
  }
}

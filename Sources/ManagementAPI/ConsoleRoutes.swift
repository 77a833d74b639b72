import APIModel
import Devices
import HTTPServer
import MachineRuntime
import PoolManager

/// `/v1/vms/{vm}/console`.
enum ConsoleRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/vms/{vm}/console", operationID: "readConsole", query: ["offset", "limit"],
      handler: read),
    Route(
      method: .post, template: "/v1/vms/{vm}/console", operationID: "writeConsole", body: .bytes(limit: inputLimit),
      handler: write),
  ]

  /// Bytes that one request may send: as many as wait for a guest at most.
  static let inputLimit = 64 << 10

  private static func read(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let offset = try call.query.integer("offset", in: 0...Int64.max) ?? 0
    let limit = try call.query.integer("limit", in: 1...65_536) ?? 65_536
    let output = try api.vm(call).machine.console.read(from: UInt64(offset), limit: Int(limit))
    var response = HTTPResponse.dynamic(status: 200, type: "application/octet-stream", body: output.bytes)
    response.headers.append(("X-Console-Start-Offset", String(output.start)))
    response.headers.append(("X-Console-Next-Offset", String(output.next)))
    return .now(response)
  }

  private static func write(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    // A chunked body says no length at first.
    guard call.request.body.count <= inputLimit else { throw .tooLarge(limit: inputLimit) }
    let vm = try api.vm(call, isTaken: true)
    let accepted = try translating(vm) { () throws(MachineControlError) in
      try vm.machine.offerInput(call.request.body)
    }
    return .now(try .json(ConsoleWriteDocument(accepted: accepted)))
  }
}

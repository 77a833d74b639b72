import APIModel
import Devices
import HTTPServer
import MachineRuntime
import PoolManager

/// `/v1/vms/{vm}/console`.
enum ConsoleRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/vms/{vm}/console", operationID: "readConsole", scope: .control,
      query: ["offset", "limit"],
      operation: read),
    Route(
      method: .post, template: "/v1/vms/{vm}/console", operationID: "writeConsole", scope: .control,
      body: .bytes(limit: inputLimit),
      operation: write),
  ]

  /// Bytes that one request may send: as many as wait for a guest at most.
  static let inputLimit = 64 << 10

  private static func read(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let offset = try context.query.integer("offset", in: 0...Int64.max) ?? 0
    let limit = try context.query.integer("limit", in: 1...65_536) ?? 65_536
    let output = try api.vm(context).machine.readConsole(from: UInt64(offset), limit: Int(limit))
    var response = HTTPResponse.dynamic(status: 200, type: "application/octet-stream", body: output.bytes)
    response.headers.append(("X-Console-Start-Offset", String(output.start)))
    response.headers.append(("X-Console-Next-Offset", String(output.next)))
    return response
  }

  private static func write(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    // A chunked body says no length at first.
    guard context.body.count <= inputLimit else { throw .tooLarge(limit: inputLimit) }
    let vm = try api.vm(context, isTaken: true)
    let accepted = try translating(vm) { () throws(MachineControlError) in
      try vm.machine.offerInput(context.body)
    }
    return try .json(ConsoleWriteDocument(accepted: accepted))
  }
}

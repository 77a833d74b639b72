import APIModel

// VMs, their vCPUs and consoles.

extension VMPoolClient {
  /// `GET /v1/vms`, every page; only those of the pool, in the state and of the tenant, where given.
  public func vms(
    pool: String? = nil, state: String? = nil, tenant: String? = nil
  ) throws(APIError) -> [VMDocument] {
    try allPages(
      "/v1/vms", query: .optional("pool", pool) + .optional("state", state) + .optional("tenant", tenant))
  }

  /// `POST /v1/vms`.
  public func createVM(
    _ request: CreateVMDocument, idempotencyKey: String? = nil
  ) throws(APIError) -> VMDocument {
    try document(
      "POST", "/v1/vms", headers: .optional("Idempotency-Key", idempotencyKey), body: try encoded(request))
  }

  /// `GET /v1/vms/{vm}`.
  public func vm(_ id: String, fence: UInt64? = nil) throws(APIError) -> VMDocument {
    try document("GET", vmPath(id), headers: .fence(fence))
  }

  /// `GET /v1/vms/{vm}?wait_for=…`: the VM when it is in that state, when it has stopped, or after `timeoutMS`, 0 to
  /// 600 000; its `state` says which.
  public func vm(
    _ id: String, waitFor state: String, timeoutMS: Int, fence: UInt64? = nil
  ) throws(APIError) -> VMDocument {
    try document(
      "GET", vmPath(id), query: [HTTPField("wait_for", state), HTTPField("timeout_ms", "\(timeoutMS)")],
      headers: .fence(fence), longer: .milliseconds(timeoutMS))
  }

  /// `DELETE /v1/vms/{vm}`.
  public func deleteVM(_ id: String, fence: UInt64? = nil) throws(APIError) {
    _ = try checked("DELETE", vmPath(id), headers: .fence(fence))
  }

  /// `POST /v1/vms/{vm}/start`.
  public func startVM(_ id: String, fence: UInt64? = nil) throws(APIError) -> VMDocument {
    try document("POST", vmPath(id, "/start"), headers: .fence(fence))
  }

  /// `POST /v1/vms/{vm}/pause`.
  public func pauseVM(_ id: String, fence: UInt64? = nil) throws(APIError) -> VMDocument {
    try document("POST", vmPath(id, "/pause"), headers: .fence(fence))
  }

  /// `POST /v1/vms/{vm}/resume`.
  public func resumeVM(_ id: String, fence: UInt64? = nil) throws(APIError) -> VMDocument {
    try document("POST", vmPath(id, "/resume"), headers: .fence(fence))
  }

  /// `POST /v1/vms/{vm}/stop`.
  public func stopVM(_ id: String, fence: UInt64? = nil) throws(APIError) -> VMDocument {
    try document("POST", vmPath(id, "/stop"), headers: .fence(fence))
  }

  // MARK: - vCPUs

  /// `GET /v1/vms/{vm}/vcpus`.
  public func vcpus(of vm: String, fence: UInt64? = nil) throws(APIError) -> [VCPUDocument] {
    let page: Page<VCPUDocument> = try document("GET", vmPath(vm, "/vcpus"), headers: .fence(fence))
    return page.items
  }

  /// `GET /v1/vms/{vm}/vcpus/{index}`.
  public func vcpu(_ index: Int, of vm: String) throws(APIError) -> VCPUDocument {
    try document("GET", vmPath(vm, "/vcpus/\(index)"))
  }

  /// `POST /v1/vms/{vm}/vcpus/{index}/kick`; the server's own timeout when none is given.
  public func kick(
    vcpu index: Int, of vm: String, timeoutMS: Int? = nil, fence: UInt64? = nil
  ) throws(APIError) -> KickDocument {
    try kick(vmPath(vm, "/vcpus/\(index)/kick"), timeoutMS, fence)
  }

  /// `POST /v1/vms/{vm}/kick`; the server's own timeout when none is given.
  public func kickAll(
    of vm: String, timeoutMS: Int? = nil, fence: UInt64? = nil
  ) throws(APIError) -> KickAllDocument {
    try kick(vmPath(vm, "/kick"), timeoutMS, fence)
  }

  /// `GET /v1/vms/{vm}/vcpus/{index}/registers`.
  public func registers(
    ofVCPU index: Int, of vm: String, fence: UInt64? = nil
  ) throws(APIError) -> RegistersDocument {
    try document("GET", vmPath(vm, "/vcpus/\(index)/registers"), headers: .fence(fence))
  }

  private func kick<Answer: Decodable>(
    _ path: String, _ timeoutMS: Int?, _ fence: UInt64?
  ) throws(APIError) -> Answer {
    let body = try encoded(KickRequestDocument(timeoutMS: timeoutMS))
    return try document(
      "POST", path, headers: .fence(fence), body: body, longer: .milliseconds(timeoutMS ?? 1000))
  }

  // MARK: - Console

  /// A piece of console output.
  public struct ConsoleOutput: Sendable, Equatable {
    /// The bytes; none when there is nothing new.
    public var bytes: [UInt8]
    /// The offset of the first of them: later than asked for when the server did not keep what is older.
    public var startOffset: UInt64
    /// The offset to ask for next.
    public var nextOffset: UInt64
  }

  /// The most bytes that one ``writeConsole(of:_:fence:)`` can send.
  public static var consoleInputLimit: Int { 65_536 }

  /// `GET /v1/vms/{vm}/console`: at most `limit` bytes, 1 to 65536, from `offset`.
  public func readConsole(
    of vm: String, offset: UInt64, limit: Int = 65536, fence: UInt64? = nil
  ) throws(APIError) -> ConsoleOutput {
    let query = [HTTPField("offset", "\(offset)"), HTTPField("limit", "\(limit)")]
    let response = try checked("GET", vmPath(vm, "/console"), query: query, headers: .fence(fence))
    return ConsoleOutput(
      bytes: response.body, startOffset: try Self.offset(response, "X-Console-Start-Offset"),
      nextOffset: try Self.offset(response, "X-Console-Next-Offset"))
  }

  /// `POST /v1/vms/{vm}/console`: up to ``consoleInputLimit`` bytes of input. Returns how many the server took; send
  /// the rest again.
  public func writeConsole(of vm: String, _ bytes: [UInt8], fence: UInt64? = nil) throws(APIError) -> Int {
    let answer: ConsoleWriteDocument = try document(
      "POST", vmPath(vm, "/console"), headers: .fence(fence), contentType: "application/octet-stream", body: bytes)
    guard 0...bytes.count ~= answer.accepted else {
      throw .protocolViolation("the server says it took \(answer.accepted) of \(bytes.count) bytes")
    }
    return answer.accepted
  }

  private static func offset(_ response: APIResponse, _ name: String) throws(APIError) -> UInt64 {
    guard let value = response.header(name), let offset = UInt64(value) else {
      throw .protocolViolation("the console's output came without \(name)")
    }
    return offset
  }

  private func vmPath(_ id: String, _ rest: String = "") -> String { "/v1/vms/\(PercentEncoding.encoded(id))\(rest)" }
}

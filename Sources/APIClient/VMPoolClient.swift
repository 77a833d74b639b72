import APIModel
import JSONCodec

/// A client of the management API: one method for each operation, each waiting for its answer.
///
/// It keeps one connection. To be used by one thread at a time. Members that this version does not know are ignored,
/// so that a newer server can be spoken to.
public final class VMPoolClient {
  /// The server's endpoint.
  public let endpoint: Endpoint
  /// How long a request may take. A kick is given its own timeout in addition.
  public var timeout: Duration
  let connection: HTTPConnection

  /// A client of the server at that endpoint; nothing is sent yet.
  public init(endpoint: Endpoint, timeout: Duration = .seconds(30)) throws(APIError) {
    self.endpoint = endpoint
    self.timeout = timeout
    connection = try HTTPConnection(endpoint: endpoint)
  }

  /// Sends any request and returns the answer, whatever its status. `path` goes on the wire as it is, `query` is
  /// percent-encoded; a body of nil sends none. No header field is added but `Host`, `Accept` and `Content-Length`.
  public func send(
    _ method: String, _ path: String, query: [HTTPField] = [], headers: [HTTPField] = [], body: [UInt8]? = nil
  ) throws(APIError) -> HTTPResponse {
    try connection.send(
      method: method, target: RequestTarget.text(path: path, query: query), headers: headers, body: body,
      timeout: timeout)
  }

  // MARK: - Host and images

  /// `GET /v1/host`.
  public func host() throws(APIError) -> HostDocument { try document("GET", "/v1/host") }

  /// `GET /v1/images`, every page.
  public func images() throws(APIError) -> [ImageDocument] { try allPages("/v1/images") }

  /// `GET /v1/images/{image}`.
  public func image(_ name: String) throws(APIError) -> ImageDocument {
    try document("GET", "/v1/images/\(RequestTarget.encoded(name))")
  }

  // MARK: - VMs

  /// `GET /v1/vms`, every page; only those of the pool and in the state, where given.
  public func vms(pool: String? = nil, state: String? = nil) throws(APIError) -> [VMDocument] {
    var filters: [HTTPField] = []
    if let pool { filters.append(HTTPField("pool", pool)) }
    if let state { filters.append(HTTPField("state", state)) }
    return try allPages("/v1/vms", query: filters)
  }

  /// `POST /v1/vms`.
  public func createVM(_ request: CreateVMDocument) throws(APIError) -> VMDocument {
    try document("POST", "/v1/vms", body: try encoded(request))
  }

  /// `GET /v1/vms/{vm}`.
  public func vm(_ id: String) throws(APIError) -> VMDocument { try document("GET", vmPath(id)) }

  /// `DELETE /v1/vms/{vm}`.
  public func deleteVM(_ id: String) throws(APIError) { _ = try checked("DELETE", vmPath(id)) }

  /// `POST /v1/vms/{vm}/start`.
  public func startVM(_ id: String) throws(APIError) -> VMDocument { try document("POST", vmPath(id, "/start")) }

  /// `POST /v1/vms/{vm}/pause`.
  public func pauseVM(_ id: String) throws(APIError) -> VMDocument { try document("POST", vmPath(id, "/pause")) }

  /// `POST /v1/vms/{vm}/resume`.
  public func resumeVM(_ id: String) throws(APIError) -> VMDocument { try document("POST", vmPath(id, "/resume")) }

  /// `POST /v1/vms/{vm}/stop`.
  public func stopVM(_ id: String) throws(APIError) -> VMDocument { try document("POST", vmPath(id, "/stop")) }

  // MARK: - vCPUs

  /// `GET /v1/vms/{vm}/vcpus`.
  public func vcpus(of vm: String) throws(APIError) -> [VCPUDocument] {
    let page: Page<VCPUDocument> = try document("GET", vmPath(vm, "/vcpus"))
    return page.items
  }

  /// `GET /v1/vms/{vm}/vcpus/{index}`.
  public func vcpu(_ index: Int, of vm: String) throws(APIError) -> VCPUDocument {
    try document("GET", vmPath(vm, "/vcpus/\(index)"))
  }

  /// `POST /v1/vms/{vm}/vcpus/{index}/kick`; the server's own timeout when none is given.
  public func kick(vcpu index: Int, of vm: String, timeoutMS: Int? = nil) throws(APIError) -> KickDocument {
    try kick(vmPath(vm, "/vcpus/\(index)/kick"), timeoutMS)
  }

  /// `POST /v1/vms/{vm}/kick`; the server's own timeout when none is given.
  public func kickAll(of vm: String, timeoutMS: Int? = nil) throws(APIError) -> KickAllDocument {
    try kick(vmPath(vm, "/kick"), timeoutMS)
  }

  /// `GET /v1/vms/{vm}/vcpus/{index}/registers`.
  public func registers(ofVCPU index: Int, of vm: String) throws(APIError) -> RegistersDocument {
    try document("GET", vmPath(vm, "/vcpus/\(index)/registers"))
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

  /// `GET /v1/vms/{vm}/console`: at most `limit` bytes, 1 to 65536, from `offset`.
  public func readConsole(of vm: String, offset: UInt64, limit: Int = 65536) throws(APIError) -> ConsoleOutput {
    let query = [HTTPField("offset", "\(offset)"), HTTPField("limit", "\(limit)")]
    let response = try checked("GET", vmPath(vm, "/console"), query: query)
    return ConsoleOutput(
      bytes: response.body, startOffset: try Self.offset(response, "X-Console-Start-Offset"),
      nextOffset: try Self.offset(response, "X-Console-Next-Offset"))
  }

  /// `POST /v1/vms/{vm}/console`: up to 4096 bytes of input. Returns how many the server took; send the rest again.
  public func writeConsole(of vm: String, _ bytes: [UInt8]) throws(APIError) -> Int {
    let answer: ConsoleWriteDocument = try document(
      "POST", vmPath(vm, "/console"), contentType: "application/octet-stream", body: bytes)
    guard 0...bytes.count ~= answer.accepted else {
      throw .protocolViolation("the server says it took \(answer.accepted) of \(bytes.count) bytes")
    }
    return answer.accepted
  }

  // MARK: - Pools

  /// `GET /v1/pools`, every page.
  public func pools() throws(APIError) -> [PoolDocument] { try allPages("/v1/pools") }

  /// `GET /v1/pools/{pool}`.
  public func pool(_ name: String) throws(APIError) -> PoolDocument { try document("GET", poolPath(name)) }

  /// `PUT /v1/pools/{pool}`: a new pool, or a new declaration of one.
  public func putPool(_ name: String, _ declaration: DeclarePoolDocument) throws(APIError) -> PoolDocument {
    try document("PUT", poolPath(name), body: try encoded(declaration))
  }

  /// `DELETE /v1/pools/{pool}`, with all its VMs.
  public func deletePool(_ name: String) throws(APIError) { _ = try checked("DELETE", poolPath(name)) }

  // MARK: - Operation

  /// `GET /metrics`, Prometheus text 0.0.4.
  public func metrics() throws(APIError) -> String { try text("/metrics") }

  /// `GET /metrics/vcpus`, Prometheus text 0.0.4.
  public func vcpuMetrics() throws(APIError) -> String { try text("/metrics/vcpus") }

  /// `GET /livez`: returns when the server answers that it lives.
  public func checkLiveness() throws(APIError) { _ = try checked("GET", "/livez") }

  /// `GET /readyz`: returns when the server takes new work; a problem `/problems/draining` when it does not.
  public func checkReadiness() throws(APIError) { _ = try checked("GET", "/readyz") }

  /// `GET /openapi.yaml`.
  public func openAPI() throws(APIError) -> String { try text("/openapi.yaml") }

  // MARK: - Requests and answers

  private func vmPath(_ id: String, _ rest: String = "") -> String { "/v1/vms/\(RequestTarget.encoded(id))\(rest)" }

  private func poolPath(_ name: String) -> String { "/v1/pools/\(RequestTarget.encoded(name))" }

  private func kick<Answer: Decodable>(_ path: String, _ timeoutMS: Int?) throws(APIError) -> Answer {
    let body = try encoded(KickRequestDocument(timeoutMS: timeoutMS))
    return try document("POST", path, body: body, timeout: timeout + .milliseconds(timeoutMS ?? 1000))
  }

  private func text(_ path: String) throws(APIError) -> String {
    String(decoding: try checked("GET", path).body, as: UTF8.self)
  }

  private func allPages<Item: Codable & Sendable>(
    _ path: String, query: [HTTPField] = []
  ) throws(APIError) -> [Item] {
    var items: [Item] = []
    var token: String?
    repeat {
      let place = token.map { [HTTPField("page_token", $0)] } ?? []
      let page: Page<Item> = try document("GET", path, query: query + [HTTPField("limit", "1000")] + place)
      guard page.nextPageToken == nil || page.nextPageToken != token else {
        throw .protocolViolation("GET \(path) answers the same page again and again")
      }
      items += page.items
      token = page.nextPageToken
    } while token != nil
    return items
  }

  private func document<Answer: Decodable>(
    _ method: String, _ path: String, query: [HTTPField] = [], contentType: String = "application/json",
    body: [UInt8]? = nil, timeout: Duration? = nil
  ) throws(APIError) -> Answer {
    let response = try checked(
      method, path, query: query, contentType: contentType, body: body, timeout: timeout)
    do {
      return try JSON.decode(Answer.self, from: response.body, unknownMembers: .ignore)
    } catch {
      throw .protocolViolation("\(method) \(path) answered \(response.status) with something unexpected: \(error)")
    }
  }

  /// The answer, if its status is a success.
  private func checked(
    _ method: String, _ path: String, query: [HTTPField] = [], contentType: String = "application/json",
    body: [UInt8]? = nil, timeout: Duration? = nil
  ) throws(APIError) -> HTTPResponse {
    // A POST without a document still says that its body is empty.
    let body = body ?? (method == "POST" ? [] : nil)
    let headers = body.map { $0.isEmpty ? [] : [HTTPField("Content-Type", contentType)] } ?? []
    let response = try connection.send(
      method: method, target: RequestTarget.text(path: path, query: query), headers: headers, body: body,
      timeout: timeout ?? self.timeout)
    if 200..<300 ~= response.status { return response }
    throw Self.refusal(response, "\(method) \(path)")
  }

  static func refusal(_ response: HTTPResponse, _ request: String) -> APIError {
    let type = response.header("Content-Type")?.split(separator: ";").first?.lowercased()
    guard response.status >= 400, type == "application/problem+json" else {
      return .protocolViolation("\(request) answered \(response.status) without saying why")
    }
    do {
      return .problem(try JSON.decode(Problem.self, from: response.body, unknownMembers: .ignore))
    } catch {
      return .protocolViolation("\(request) answered \(response.status) with a malformed problem: \(error)")
    }
  }

  private static func offset(_ response: HTTPResponse, _ name: String) throws(APIError) -> UInt64 {
    guard let value = response.header(name), let offset = UInt64(value) else {
      throw .protocolViolation("the console's output came without \(name)")
    }
    return offset
  }

  private func encoded<Body: Encodable>(_ body: Body) throws(APIError) -> [UInt8] {
    do {
      return try JSON.encode(body)
    } catch {
      throw .protocolViolation("the request cannot be written as JSON: \(error)")
    }
  }
}

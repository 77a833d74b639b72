import APIModel
import JSONCodec

/// A client of the management API: one method for each operation, each waiting for its answer.
///
/// It keeps one connection. To be used by one thread at a time. Members that this version does not know are ignored,
/// so that a newer server can be spoken to.
///
/// Where an operation takes a `fence`, that of a lease, nothing is done to a VM that is no longer under it
/// (`/problems/stale-fence`). Where it takes an `idempotencyKey`, it may be repeated with the same key when no answer
/// came, and is done once.
public final class VMPoolClient {
  /// The server's endpoint.
  public let endpoint: Endpoint
  /// How long a request may take; what it asks the server to wait for comes in addition.
  public var timeout: Duration
  let connection: HTTPConnection

  /// Asked on the same thread while a request waits, about once a second: true ends the request with
  /// ``APIError/unreachable(endpoint:reason:errno:)``, as it does every later one.
  public var isAbandoned: (() -> Bool)? {
    get { connection.isAbandoned }
    set { connection.isAbandoned = newValue }
  }

  /// A client of the server at that endpoint; nothing is sent yet. It presents `key`, where there is one, with each request.
  /// `files` counts for endpoints with TLS.
  public init(
    endpoint: Endpoint, key: String? = nil, files: TLSFiles = TLSFiles(), timeout: Duration = .seconds(30)
  ) throws(APIError) {
    self.endpoint = endpoint
    self.timeout = timeout
    connection = try HTTPConnection(endpoint: endpoint, key: key, files: files)
  }

  /// Sends any request and returns the answer with any status. `path` goes on the wire as it is, `query` is
  /// percent-encoded; a body of nil sends none. No header field is added but `Host`, `Accept`, `Content-Length`
  /// and, with a key, `Authorization`.
  public func send(
    _ method: String, to path: String, query: [HTTPField] = [], headers: [HTTPField] = [], body: [UInt8]? = nil
  ) throws(APIError) -> APIResponse {
    try connection.send(
      method: method, target: PercentEncoding.target(path: path, query: query), headers: headers, body: body,
      timeout: timeout)
  }

  // MARK: - Host

  /// `GET /v1/host`.
  public func host() throws(APIError) -> HostDocument { try document("GET", "/v1/host") }

  // MARK: - Operation

  /// `GET /metrics`, Prometheus text 0.0.4.
  public func metrics() throws(APIError) -> String { try text("/metrics") }

  /// `GET /metrics/vcpus`, Prometheus text 0.0.4.
  public func vcpuMetrics() throws(APIError) -> String { try text("/metrics/vcpus") }

  /// `GET /openapi.yaml`.
  public func openAPI() throws(APIError) -> String { try text("/openapi.yaml") }

  // MARK: - Requests and answers

  func text(_ path: String) throws(APIError) -> String {
    String(decoding: try checked("GET", path).body, as: UTF8.self)
  }

  func allPages<Item: Codable & Sendable>(
    _ path: String, query: [HTTPField] = []
  ) throws(APIError) -> [Item] {
    try pages(path, query: query, most: .max)
  }

  /// At most `most` items, one at least.
  func pages<Item: Codable & Sendable>(
    _ path: String, query: [HTTPField], most: Int
  ) throws(APIError) -> [Item] {
    var items: [Item] = []
    var token: String?
    repeat {
      let place = token.map { [HTTPField("page_token", $0)] } ?? []
      let limit = HTTPField("limit", "\(min(most - items.count, 1000))")
      let page: Page<Item> = try document("GET", path, query: query + [limit] + place)
      guard page.nextPageToken == nil || page.nextPageToken != token else {
        throw .protocolViolation("GET \(path) answers the same page again and again")
      }
      items += page.items
      token = page.nextPageToken
    } while token != nil && items.count < most
    return items
  }

  /// What the server answers, as a document. `longer` is what the request may take beyond the client's timeout.
  func document<Answer: Decodable>(
    _ method: String, _ path: String, query: [HTTPField] = [], headers: [HTTPField] = [],
    contentType: String = "application/json", body: [UInt8]? = nil, longer: Duration = .zero
  ) throws(APIError) -> Answer {
    let response = try checked(
      method, path, query: query, headers: headers, contentType: contentType, body: body, longer: longer)
    return try decoded(response, "\(method) \(path)")
  }

  /// The document in an answer to that request.
  func decoded<Answer: Decodable>(_ response: APIResponse, _ request: String) throws(APIError) -> Answer {
    guard response.contentType == "application/json" else {
      throw .foreign(endpoint: endpoint.description, answer: "it answers \(request) with something else than JSON")
    }
    do {
      return try JSON.decode(Answer.self, from: response.body, unknownMembers: .ignore)
    } catch {
      throw .protocolViolation("\(request) answered \(response.status) with something unexpected: \(error)")
    }
  }

  /// The answer, if its status is a success.
  func checked(
    _ method: String, _ path: String, query: [HTTPField] = [], headers: [HTTPField] = [],
    contentType: String = "application/json", body: [UInt8]? = nil, longer: Duration = .zero
  ) throws(APIError) -> APIResponse {
    // A POST without a document still says that its body is empty.
    let body = body ?? (method == "POST" ? [] : nil)
    let type = body.map { $0.isEmpty ? [] : [HTTPField("Content-Type", contentType)] } ?? []
    let response = try connection.send(
      method: method, target: PercentEncoding.target(path: path, query: query), headers: headers + type, body: body,
      timeout: timeout + longer)
    if 200..<300 ~= response.status { return response }
    throw refusal(response, "\(method) \(path)")
  }

  func refusal(_ response: APIResponse, _ request: String) -> APIError {
    guard response.status >= 400, response.contentType == "application/problem+json" else {
      return .foreign(
        endpoint: endpoint.description,
        answer: "it answers \(request) with \(response.status) and no document of the API")
    }
    do {
      return .problem(try JSON.decode(Problem.self, from: response.body, unknownMembers: .ignore))
    } catch {
      return .protocolViolation("\(request) answered \(response.status) with a malformed problem: \(error)")
    }
  }

  func encoded<Body: Encodable>(_ body: Body) throws(APIError) -> [UInt8] {
    do {
      return try JSON.encode(body)
    } catch {
      throw .protocolViolation("the request cannot be written as JSON: \(error)")
    }
  }
}

extension APIResponse {
  /// The body's type, in lower case and without parameters.
  fileprivate var contentType: String? { header("Content-Type")?.split(separator: ";").first?.lowercased() }
}

extension [HTTPField] {
  /// A field, or none.
  static func optional(_ name: String, _ value: String?) -> Self { value.map { [HTTPField(name, $0)] } ?? [] }

  /// Whose lease a request is made under.
  static func fence(_ fence: UInt64?) -> Self { optional("Lease-Fence", fence.map { "\($0)" }) }
}

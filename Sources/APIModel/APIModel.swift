// The JSON documents of API v1, as openapi/vmpool.yaml describes them: what the server writes and its clients read.
// Plain values, spelled as on the wire (snake_case through CodingKeys), with no behaviour. A member that is nil is
// written as null, but for those of a problem.

/// A page of a list.
public struct Page<Item: Codable & Sendable>: Codable, Sendable {
  /// The items of this page, in a stable order.
  public var items: [Item]
  /// Give this as `page_token` to get the next page; null on the last one.
  public var nextPageToken: String?

  /// A page.
  public init(items: [Item], nextPageToken: String?) {
    self.items = items
    self.nextPageToken = nextPageToken
  }

  enum CodingKeys: String, CodingKey {
    case items
    case nextPageToken = "next_page_token"
  }
}

/// RFC 9457 problem details.
public struct Problem: Codable, Sendable, Equatable, Error {
  /// A stable, machine-readable URI reference, such as `/problems/vm-not-found`.
  public var type: String
  /// A short summary of the kind of problem; the same for every occurrence.
  public var title: String
  /// The HTTP status.
  public var status: Int
  /// What happened, to what, and what to do next.
  public var detail: String
  /// The request this answers, as in `X-Request-Id`.
  public var requestID: String?
  /// For bad input: an RFC 6901 JSON Pointer to the offending member of the body.
  public var pointer: String?
  /// For an impossible transition: the state the VM is in.
  public var state: String?
  /// For an exhausted pool: how many clients wait for a lease of it.
  public var waiting: Int?

  /// A problem; what is nil is left out.
  public init(
    type: String, title: String, status: Int, detail: String, requestID: String? = nil, pointer: String? = nil,
    state: String? = nil, waiting: Int? = nil
  ) {
    self.type = type
    self.title = title
    self.status = status
    self.detail = detail
    self.requestID = requestID
    self.pointer = pointer
    self.state = state
    self.waiting = waiting
  }

  /// Writes the problem without the members that are nil.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: CodingKeys.self)
    try members.encode(type, forKey: .type)
    try members.encode(title, forKey: .title)
    try members.encode(status, forKey: .status)
    try members.encode(detail, forKey: .detail)
    if let requestID { try members.encode(requestID, forKey: .requestID) }
    if let pointer { try members.encode(pointer, forKey: .pointer) }
    if let state { try members.encode(state, forKey: .state) }
    if let waiting { try members.encode(waiting, forKey: .waiting) }
  }

  enum CodingKeys: String, CodingKey {
    case type, title, status, detail
    case requestID = "request_id"
    case pointer, state, waiting
  }
}

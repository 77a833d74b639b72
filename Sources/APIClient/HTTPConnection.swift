import CCurl

/// One keep-alive HTTP/1.1 connection to an endpoint, over a libcurl easy handle. To be used by one thread at a time.
@safe final class HTTPConnection {
  private let endpoint: Endpoint
  private let handle: UnsafeMutableRawPointer

  /// Answers larger than this are refused.
  static let bodyLimit = 64 << 20

  init(endpoint: Endpoint) throws(APIError) {
    // Safe: no pointer is involved; the handle is checked, and owned by this object alone from here on.
    guard curlIsReady, let handle = unsafe curl_easy_init() else {
      throw .unreachable(endpoint: endpoint.description, reason: "libcurl cannot be initialised")
    }
    self.endpoint = endpoint
    unsafe self.handle = handle
  }

  deinit {
    // Safe: nobody else has the handle, and no transfer is under way.
    unsafe curl_easy_cleanup(handle)
  }

  /// Sends a request and waits for the whole answer, at most `timeout`. `target` goes on the request line as it is.
  /// A body of nil sends none; an empty one says `Content-Length: 0`.
  func send(
    method: String, target: String, headers: [HTTPField], body: [UInt8]?, timeout: Duration
  ) throws(APIError) -> HTTPResponse {
    for text in [method, target] + headers.flatMap({ [$0.name, $0.value] }) {
      // What libcurl would pass through, or cut short.
      guard !text.utf8.contains(where: { $0 == 0 || $0 == 0x0A || $0 == 0x0D }) else {
        throw .protocolViolation("\(text.debugDescription) cannot be sent: it has a line break or a NUL in it")
      }
    }
    // Safe: resetting keeps the connection and drops every pointer of the request before.
    unsafe curl_easy_reset(handle)
    let answer = Answer()
    setConnectionOptions(timeout: timeout)
    set(CURLOPT_REQUEST_TARGET, target)
    setMethod(method, hasBody: body != nil)
    if let body { setBody(body) }
    let fields = FieldList(headers, sendsBody: body != nil)
    let code = withExtendedLifetime((fields, answer)) {
      unsafe answer.attach(to: handle)
      // Safe: `fields` and `answer` live until the transfer is over, and the next reset drops the pointers to them.
      unsafe _ = ccurl_set_list(handle, CURLOPT_HTTPHEADER, fields.head)
      return unsafe curl_easy_perform(handle)
    }
    return try response(code, answer)
  }

  private func setConnectionOptions(timeout: Duration) {
    set(CURLOPT_URL, endpoint.baseURL + "/")
    if case .unix(let path) = endpoint { set(CURLOPT_UNIX_SOCKET_PATH, path) }
    // The environment's proxies are not for this; neither are signals, nor a server's redirections.
    set(CURLOPT_PROXY, "")
    set(CURLOPT_NOSIGNAL, 1)
    set(CURLOPT_FOLLOWLOCATION, 0)
    set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
    // Zero would mean no limit at all.
    let (seconds, attoseconds) = min(max(timeout, .milliseconds(1)), .seconds(86_400)).components
    let milliseconds = Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
    set(CURLOPT_TIMEOUT_MS, milliseconds)
    set(CURLOPT_CONNECTTIMEOUT_MS, min(5000, milliseconds))
  }

  private func setMethod(_ method: String, hasBody: Bool) {
    if hasBody { set(CURLOPT_POST, 1) }
    if method == "HEAD" { set(CURLOPT_NOBODY, 1) }
    set(CURLOPT_CUSTOMREQUEST, method)
  }

  private func setBody(_ body: [UInt8]) {
    // The size comes first: it says how much is copied. Without bytes there is no pointer to give, but null would
    // mean that the body is to be read from a callback.
    // Safe: libcurl copies the bytes before the buffer's scope ends.
    unsafe _ = ccurl_set_offset(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
    if body.isEmpty {
      set(CURLOPT_COPYPOSTFIELDS, "")
    } else {
      unsafe body.withUnsafeBytes { unsafe _ = ccurl_set_pointer(handle, CURLOPT_COPYPOSTFIELDS, $0.baseAddress) }
    }
  }

  private func response(_ code: CURLcode, _ answer: Answer) throws(APIError) -> HTTPResponse {
    if answer.isTooLarge { throw .protocolViolation("the answer is larger than \(Self.bodyLimit) bytes") }
    switch code {
    case CURLE_OK: break
    case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING:
      throw .protocolViolation("\(endpoint) does not speak HTTP: \(message(code))")
    default: throw .unreachable(endpoint: endpoint.description, reason: message(code))
    }
    var status = 0
    // Safe: libcurl writes one long where it is told to.
    unsafe _ = ccurl_get_long(handle, CURLINFO_RESPONSE_CODE, &status)
    return HTTPResponse(status: status, headers: answer.headers, body: answer.body)
  }

  private func message(_ code: CURLcode) -> String {
    // Safe: the texts are constants of the library.
    unsafe String(cString: curl_easy_strerror(code))
  }

  // An option that this libcurl does not know, or memory that is missing, shows in the transfer's own result.

  private func set(_ option: CURLoption, _ value: Int) {
    // Safe: options given here take a long.
    unsafe _ = ccurl_set_long(handle, option, value)
  }

  private func set(_ option: CURLoption, _ value: String) {
    // Safe: options given here take a string, which libcurl copies.
    unsafe _ = ccurl_set_string(handle, option, value)
  }
}

/// Whether the library's global state was set up; done once, before the first handle.
private let curlIsReady: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

/// The header fields of a request, as libcurl wants them.
@safe private final class FieldList {
  private(set) var head: UnsafeMutablePointer<curl_slist>?

  init(_ fields: [HTTPField], sendsBody: Bool) {
    for field in fields {
      // "Name;" is libcurl's way to say a field without a value.
      append(field.value.isEmpty ? "\(field.name);" : "\(field.name): \(field.value)")
    }
    let names = Set(fields.map { $0.name.lowercased() })
    // What libcurl would add by itself: a form's content type, and a wait for "100 Continue".
    for name in ["Content-Type", "Expect"] where sendsBody && !names.contains(name.lowercased()) { append("\(name):") }
  }

  private func append(_ line: String) {
    // Safe: the line is copied; on failure the list before stays ours.
    if let longer = unsafe curl_slist_append(head, line) { unsafe head = longer }
  }

  deinit {
    // Safe: the list is ours, and no transfer uses it any more.
    unsafe curl_slist_free_all(head)
  }
}

/// Where libcurl's callbacks put the answer, on the thread that sends.
private final class Answer {
  var headers: [HTTPField] = []
  var body: [UInt8] = []
  var isTooLarge = false

  /// The handle's transfers write here from now on; the caller keeps this object alive for as long.
  func attach(to handle: UnsafeMutableRawPointer) {
    // Safe: the pointer is not owned; the caller's promise makes it valid whenever a callback runs.
    let context = unsafe Unmanaged.passUnretained(self).toOpaque()
    unsafe _ = ccurl_set_receive(handle, CURLOPT_WRITEFUNCTION, receiveBody)
    unsafe _ = ccurl_set_pointer(handle, CURLOPT_WRITEDATA, context)
    unsafe _ = ccurl_set_receive(handle, CURLOPT_HEADERFUNCTION, receiveHeader)
    unsafe _ = ccurl_set_pointer(handle, CURLOPT_HEADERDATA, context)
  }

  func addHeader(_ line: String) {
    // A status line begins a new head: what came before belongs to an interim answer.
    if line.hasPrefix("HTTP/") {
      headers = []
      return
    }
    guard let colon = line.firstIndex(of: ":") else { return }
    let value = line[line.index(after: colon)...].drop(while: \.isWhitespace)
    let end = value.lastIndex { !$0.isWhitespace }
    headers.append(HTTPField(String(line[..<colon]), end.map { String(value[...$0]) } ?? ""))
  }
}

private func receiveBody(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
  // Safe: `context` is the answer attached to this handle, and libcurl lends `size * count` bytes for this call.
  let answer = unsafe Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
  guard answer.body.count + size * count <= HTTPConnection.bodyLimit else {
    answer.isTooLarge = true
    return 0
  }
  unsafe answer.body.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: size * count))
  return size * count
}

private func receiveHeader(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
  // Safe: as for the body. libcurl bounds the head itself, at 300 KiB.
  let answer = unsafe Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
  answer.addHeader(unsafe String(decoding: UnsafeRawBufferPointer(start: bytes, count: size * count), as: UTF8.self))
  return size * count
}

import CCurl
import Glibc

/// One keep-alive HTTP/1.1 connection to an endpoint, over a libcurl easy handle. To be used by one thread at a time.
@safe final class HTTPConnection {
  private let endpoint: Endpoint
  /// Goes with each request, and nowhere else.
  private let authorization: [HTTPField]
  private let files: TLSFiles
  private let handle: UnsafeMutableRawPointer
  /// libcurl's own words on the last failure.
  private let words: UnsafeMutablePointer<CChar>
  /// Asked while a request waits, once a second and after each signal: true gives the request up.
  var isAbandoned: (() -> Bool)?

  /// Answers larger than this are refused.
  static let bodyLimit = 64 << 20

  init(endpoint: Endpoint, key: String?, files: TLSFiles) throws(APIError) {
    // The key stands in no message.
    guard key?.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) ?? true, key != "" else {
      throw .protocolViolation("the key cannot be sent: it is empty, or has characters that no key has")
    }
    authorization = .optional("Authorization", key.map { "Bearer " + $0 })
    // Safe: no pointer is involved; the handle is checked, and owned by this object alone from here on.
    guard curlIsReady, let handle = unsafe curl_easy_init() else {
      throw .unreachable(endpoint: endpoint.description, reason: "libcurl cannot be initialised")
    }
    self.endpoint = endpoint
    self.files = files
    unsafe self.handle = handle
    unsafe words = .allocate(capacity: Int(CURL_ERROR_SIZE))
    unsafe words.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
  }

  deinit {
    // Safe: this object alone has the handle, and no transfer is under way.
    unsafe curl_easy_cleanup(handle)
    unsafe words.deallocate()
  }

  /// Sends a request and waits for the whole answer, at most `timeout`. `target` goes on the request line as it is.
  /// A body of nil sends none; an empty one says `Content-Length: 0`.
  func send(
    method: String, target: String, headers: [HTTPField], body: [UInt8]?, timeout: Duration
  ) throws(APIError) -> APIResponse {
    try prepare(method: method, target: target, headers: headers, timeout: timeout)
    setMethod(method, hasBody: body != nil)
    if let body { setBody(body) }
    let answer = Answer()
    let code = perform(headers, sendsBody: body != nil, answer)
    return try response(code, answer)
  }

  /// Sends a GET and hands over the body of a successful answer of that content type as it comes. Stops when it ends or
  /// `body` returns false. Returns any other answer, whole. Throws when no byte came for as long as `silence`.
  func stream(
    target: String, headers: [HTTPField], type: String, silence: Duration, _ body: ([UInt8]) -> Bool
  ) throws(APIError) -> APIResponse? {
    try prepare(method: "GET", target: target, headers: headers, timeout: nil)
    setMethod("GET", hasBody: false)
    set(CURLOPT_LOW_SPEED_LIMIT, 1)
    set(CURLOPT_LOW_SPEED_TIME, Int(silence.components.seconds))
    let answer = Answer()
    let code = withoutActuallyEscaping(body) { body in
      answer.sink = Answer.Sink(type: type, take: body)
      // libcurl does not call it after the transfer.
      defer { answer.sink?.take = { _ in false } }
      return perform(headers, sendsBody: false, answer)
    }
    if answer.sink?.isSatisfied == true { return nil }
    let response = try response(code, answer)
    return answer.isStreamed ? nil : response
  }

  /// Sends a body of `count` bytes that `read` fills buffers with, and waits for the whole answer. The body is not sent
  /// when the server answers without it. Throws when nothing went either way for as long as `silence`.
  ///
  /// `read` returns how many bytes it has put into the buffer; none ends the transfer in failure.
  func upload(
    target: String, headers: [HTTPField], count: Int, silence: Duration, _ read: (inout MutableRawSpan) -> Int?
  ) throws(APIError) -> APIResponse {
    let headers = headers + [HTTPField("Expect", "100-continue")]
    try prepare(method: "PUT", target: target, headers: headers, timeout: nil)
    set(CURLOPT_UPLOAD, 1)
    set(CURLOPT_LOW_SPEED_LIMIT, 1)
    set(CURLOPT_LOW_SPEED_TIME, Int(silence.components.seconds))
    // Safe: the size is of the type that the option takes.
    unsafe _ = ccurl_set_offset(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(count))
    let answer = Answer()
    let code = withoutActuallyEscaping(read) { read in
      let source = Source(read)
      // libcurl does not call it after the transfer.
      defer { source.read = { _ in 0 } }
      return withExtendedLifetime(source) {
        unsafe source.attach(to: handle)
        return perform(headers, sendsBody: true, answer)
      }
    }
    return try response(code, answer)
  }

  /// A request without its method and its body; a timeout of nil is no limit.
  private func prepare(method: String, target: String, headers: [HTTPField], timeout: Duration?) throws(APIError) {
    for text in [method, target] + headers.flatMap({ [$0.name, $0.value] }) {
      // What libcurl would pass through, or cut short.
      guard !text.utf8.contains(where: { $0 == 0 || $0 == 0x0A || $0 == 0x0D }) else {
        throw .protocolViolation("\(text.debugDescription) cannot be sent: it has a line break or a NUL in it")
      }
    }
    // Safe: resetting keeps the connection and drops every pointer of the request before.
    unsafe curl_easy_reset(handle)
    setConnectionOptions(timeout: timeout)
    set(CURLOPT_REQUEST_TARGET, target)
  }

  private func perform(_ headers: [HTTPField], sendsBody: Bool, _ answer: Answer) -> CURLcode {
    let fields = FieldList(headers + authorization, sendsBody: sendsBody)
    return withExtendedLifetime((fields, answer)) {
      // Safe: `fields` and `answer` live until the transfer is over, and the next reset drops the pointers to them.
      unsafe answer.attach(to: handle)
      unsafe _ = ccurl_set_list(handle, CURLOPT_HTTPHEADER, fields.head)
      if isAbandoned != nil {
        // This object outlives the call, and libcurl calls back during the transfer alone.
        unsafe _ = ccurl_set_pointer(handle, CURLOPT_XFERINFODATA, Unmanaged.passUnretained(self).toOpaque())
        unsafe _ = ccurl_set_progress(handle, goesOn)
        set(CURLOPT_NOPROGRESS, 0)
      }
      return unsafe curl_easy_perform(handle)
    }
  }

  private func setConnectionOptions(timeout: Duration?) {
    set(CURLOPT_URL, endpoint.baseURL + "/")
    if case .unix(let path) = endpoint { set(CURLOPT_UNIX_SOCKET_PATH, path) }
    if case .tls = endpoint { setFiles() }
    // The environment's proxies are not for this; neither are signals, nor a server's redirections.
    set(CURLOPT_PROXY, "")
    set(CURLOPT_NOSIGNAL, 1)
    set(CURLOPT_FOLLOWLOCATION, 0)
    set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
    set(CURLOPT_CONNECTTIMEOUT_MS, 5000)
    guard let timeout else { return }
    // Zero would mean no limit at all.
    let (seconds, attoseconds) = min(max(timeout, .milliseconds(1)), .seconds(86_400)).components
    let milliseconds = Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
    set(CURLOPT_TIMEOUT_MS, milliseconds)
    set(CURLOPT_CONNECTTIMEOUT_MS, min(5000, milliseconds))
  }

  private func setFiles() {
    set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
    if let authority = files.authority { set(CURLOPT_CAINFO, authority) }
    if let certificate = files.certificate {
      set(CURLOPT_SSLCERT, certificate)
      set(CURLOPT_SSLKEY, files.key ?? certificate)
    }
    // Safe: there is room for what libcurl writes, and this object outlives the handle.
    unsafe words.pointee = 0
    unsafe _ = ccurl_set_pointer(handle, CURLOPT_ERRORBUFFER, words)
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

  private func response(_ code: CURLcode, _ answer: Answer) throws(APIError) -> APIResponse {
    if answer.isTooLarge { throw .protocolViolation("the answer is larger than \(Self.bodyLimit) bytes") }
    switch code {
    case CURLE_OK: break
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM, CURLE_SSL_ISSUER_ERROR,
      CURLE_SSL_CONNECT_ERROR:
      // Safe: libcurl ends its text with a NUL.
      let words = unsafe String(cString: words)
      throw .untrusted(endpoint: endpoint.description, reason: words.isEmpty ? message(code) : words)
    case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING:
      throw .foreign(endpoint: endpoint.description, answer: "it does not speak HTTP")
    case CURLE_COULDNT_RESOLVE_HOST:
      throw .unreachable(endpoint: endpoint.description, reason: "no address is known for that host")
    case CURLE_OPERATION_TIMEDOUT:
      throw .unreachable(endpoint: endpoint.description, reason: "no answer came in time")
    case CURLE_GOT_NOTHING, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_PARTIAL_FILE:
      throw .unreachable(endpoint: endpoint.description, reason: "the connection ended before the answer")
    case CURLE_COULDNT_CONNECT:
      let number = information(CURLINFO_OS_ERRNO)
      throw .unreachable(
        endpoint: endpoint.description, reason: number == 0 ? message(code) : text(ofError: number),
        errno: number == 0 ? nil : Int32(number))
    default: throw .unreachable(endpoint: endpoint.description, reason: message(code))
    }
    return APIResponse(status: information(CURLINFO_RESPONSE_CODE), headers: answer.headers, body: answer.body)
  }

  /// A number that libcurl keeps about the last transfer; 0 where it knows none.
  private func information(_ item: CURLINFO) -> Int {
    var value = 0
    // Safe: libcurl writes one long into the local.
    unsafe _ = ccurl_get_long(handle, item, &value)
    return value
  }

  private func text(ofError number: Int) -> String {
    // Safe: the text is copied before another call could replace it; a client is used by one thread at a time.
    unsafe String(cString: strerror(Int32(number)))
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

/// libcurl's look at whether the transfer goes on: 0 for yes.
private func goesOn(
  _ context: UnsafeMutableRawPointer?, _: curl_off_t, _: curl_off_t, _: curl_off_t, _: curl_off_t
) -> Int32 {
  // Safe: `context` is the connection whose transfer this is.
  guard let context = unsafe context else { return 0 }
  return unsafe Unmanaged<HTTPConnection>.fromOpaque(context).takeUnretainedValue().isAbandoned?() == true ? 1 : 0
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

/// Where libcurl's callback takes a body from, on the thread that sends.
private final class Source {
  var read: (inout MutableRawSpan) -> Int?

  init(_ read: @escaping (inout MutableRawSpan) -> Int?) { self.read = read }

  /// The handle's next transfer reads here; the caller keeps this object alive for as long.
  func attach(to handle: UnsafeMutableRawPointer) {
    // Safe: the pointer is not owned; the caller's promise makes it valid whenever the callback runs.
    let context = unsafe Unmanaged.passUnretained(self).toOpaque()
    unsafe _ = ccurl_set_receive(handle, CURLOPT_READFUNCTION, readBody)
    unsafe _ = ccurl_set_pointer(handle, CURLOPT_READDATA, context)
  }
}

private func readBody(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  // Safe: `context` is the source attached to this handle, and libcurl lends `size * count` bytes for this call.
  guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
  let source = unsafe Unmanaged<Source>.fromOpaque(context).takeUnretainedValue()
  let buffer = unsafe UnsafeMutableRawBufferPointer(start: bytes, count: size * count)
  var target = unsafe buffer.mutableBytes
  return source.read(&target) ?? Int(CURL_READFUNC_ABORT)
}

/// Where libcurl's callbacks put the answer, on the thread that sends.
private final class Answer {
  /// Where the body of a successful answer of a certain type goes, piece by piece.
  struct Sink {
    var type: String
    var take: ([UInt8]) -> Bool
    /// It wants no more.
    var isSatisfied = false
  }

  var status = 0
  var headers: [HTTPField] = []
  var body: [UInt8] = []
  var isTooLarge = false
  var sink: Sink?

  /// The body goes to the sink.
  var isStreamed: Bool {
    guard let sink, status == 200 else { return false }
    let type = headers.first { $0.name.lowercased() == "content-type" }?.value
    return type?.split(separator: ";").first?.lowercased() == sink.type
  }

  /// False ends the transfer.
  func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
    if isStreamed, let sink {
      // Safe: the bytes are copied.
      let goesOn = unsafe sink.take(Array(bytes))
      self.sink?.isSatisfied = !goesOn
      return goesOn
    }
    isTooLarge = body.count + bytes.count > HTTPConnection.bodyLimit
    // Safe: the bytes are copied.
    if !isTooLarge { unsafe body.append(contentsOf: bytes) }
    return !isTooLarge
  }

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
      status = line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
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
  // Safe: `context` is the answer attached to this handle, and libcurl lends `size * count` bytes for this call.
  guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
  let answer = unsafe Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
  return unsafe answer.take(UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
}

private func receiveHeader(
  _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  // Safe: as for the body. libcurl bounds the head itself, at 300 KiB.
  guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
  let answer = unsafe Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
  answer.addHeader(unsafe String(decoding: UnsafeRawBufferPointer(start: bytes, count: size * count), as: UTF8.self))
  return size * count
}

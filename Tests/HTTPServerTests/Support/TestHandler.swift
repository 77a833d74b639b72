import Glibc
import LinuxSupport
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

/// A handler whose first path segment says what to do; keeps all it was told.
final class TestHandler: HTTPHandler {
  private let seen = Mutex<[HTTPRequest]>([])
  private let kept = Mutex<[HTTPAccessRecord]>([])
  private let parked = Mutex<[ParkedRequest]>([])
  private let streaming = Mutex<[HTTPStream]>([])
  private let left = Mutex<[String]>([])
  private let blocking = Mutex<WakeSignal?>(nil)
  private let changed = WakeSignal()

  var requests: [HTTPRequest] { seen.withLock { $0 } }

  func admit(_ head: inout HTTPRequestHead) -> HTTPAdmission {
    if head.pathSegments.first == "watched" { head.context = WatchedContext() }
    return switch head.pathSegments.first {
    case "denied": .answer(HTTPResponse(status: 401, body: Array("denied".utf8)))
    case "sink": .sink(TestSink(self, name: head.pathSegments.last ?? ""))
    default: .collect
    }
  }

  func isEssential(_ head: HTTPRequestHead) -> Bool { head.pathSegments.first == "essential" }

  func respond(to request: HTTPRequest) async -> HTTPResponse {
    seen.withLock { $0.append(request) }
    switch request.head.pathSegments.first {
    case "echo":
      return HTTPResponse(status: 200, headers: [("X-Method", request.head.method)], body: request.body)
    case "big": return HTTPResponse(status: 200, body: [UInt8](repeating: 0x62, count: 8 << 20))
    case "block":
      block()
      return Self.text("released")
    case "sink":
      let sink = request.sink as? TestSink
      return Self.text("\(sink?.count ?? -1) \(sink?.sum ?? 0)")
    case "file":
      var response = HTTPResponse(status: 200)
      response.file = try? ReadableFile(path: request.head.query.first?.value ?? "")
      return response
    case "tagged":
      guard let file = try? ReadableFile(path: request.head.query.first?.value ?? "") else {
        return HTTPResponse(status: 404)
      }
      return .file(file, etag: "\"t\"", for: request.head)
    case "thread": return Self.text((try? contents(of: "/proc/thread-self/status")) ?? "")
    case "empty": return HTTPResponse(status: 204)
    case "later": return await park()
    case "watched":
      let name = request.head.pathSegments.last ?? ""
      return await withTaskCancellationHandler {
        await park()
      } onCancel: {
        noting(name)()
      }
    case "stream":
      var head = HTTPResponse(status: 200, headers: [("Content-Type", "text/plain")])
      head.label = "a stream"
      if let body = request.head.pathSegments.dropFirst().first { head.body = Array(body.utf8) }
      head.stream = { self.keep($0) }
      return head
    case "long-stream":
      return Self.stream(HTTPResponse(status: 200, body: [UInt8](repeating: 0x62, count: 8 << 20))) { self.keep($0) }
    case "empty-stream": return Self.stream(HTTPResponse(status: 204)) { self.keep($0) }
    case "split-stream": return Self.stream(HTTPResponse(status: 200, headers: [("X", "a\r\nb")])) { self.keep($0) }
    case "dropped-stream": return Self.stream(HTTPResponse(status: 200)) { _ in }
    case "finished-stream":
      return Self.stream(HTTPResponse(status: 200)) { stream in
        stream.send(Array("all".utf8))
        stream.finish()
      }
    case "split": return HTTPResponse(status: 200, headers: [("X-Split", "a\r\nX-Injected: b")])
    case "cut": return HTTPResponse(status: 200, headers: [("X-Cut", "a\0b")])
    case "told":
      var response = HTTPResponse(status: request.head.pathSegments.last == "unfit" ? 99 : 200)
      if request.head.pathSegments.last == "big" { response.body = [UInt8](repeating: 0x62, count: 8 << 20) }
      response.whenOver = { self.noting($0 ? "delivered" : "undelivered")() }
      return response
    case "length": return HTTPResponse(status: 200, headers: [("Content-Length", "7")])
    case "status": return HTTPResponse(status: 99)
    default: return Self.text("plain")
    }
  }

  private static func stream(
    _ head: HTTPResponse, _ start: @escaping @Sendable (HTTPStream) -> Void
  ) -> HTTPResponse {
    var head = head
    head.stream = start
    return head
  }

  /// Waits until a test answers.
  private func park() async -> HTTPResponse {
    await withCheckedContinuation { continuation in
      parked.withLock { $0.append(ParkedRequest(continuation)) }
      changed.give()
    }
  }

  func response(to refusal: HTTPRefusal, requestID: String) -> HTTPResponse {
    HTTPResponse(status: refusal.status, headers: [("X-Refused", requestID)], body: Array(refusal.detail.utf8))
  }

  func completed(_ record: HTTPAccessRecord) {
    kept.withLock { $0.append(record) }
    changed.give()
  }

  /// Answers the suspended requests and drops the streams that no test has taken.
  func forget() {
    for request in Self.taken(parked) { request.complete(Self.text("forgotten")) }
    _ = Self.taken(streaming)
  }

  private static func taken<Element>(_ list: borrowing Mutex<[Element]>) -> sending [Element] where Element: Sendable {
    list.withLock { list in
      defer { list = [] }
      return list
    }
  }

  private func keep(_ stream: HTTPStream) {
    streaming.withLock { $0.append(stream) }
    changed.give()
  }

  /// What a test waits for with `left`.
  func noting(_ name: String) -> @Sendable () -> Void {
    {
      self.left.withLock { $0.append(name) }
      self.changed.give()
    }
  }

  /// Waits until that many have left, and tells who has.
  func left(_ count: Int) throws -> [String] {
    try wait {
      let left = self.left.withLock { $0 }; return left.count >= count ? left : nil
    }
  }

  /// Who has left so far.
  var leftSoFar: [String] { left.withLock { $0 } }

  /// Waits for that many streams and takes them.
  func streams(_ count: Int) throws -> [HTTPStream] {
    try wait {
      self.streaming.withLock { waiting in
        if waiting.count < count { return nil }
        defer { waiting = [] }
        return waiting
      }
    }
  }

  var streamsSoFar: Int { streaming.withLock { $0.count } }

  /// Waits for that many records.
  func records(_ count: Int) throws -> [HTTPAccessRecord] {
    try wait {
      let records = self.kept.withLock { $0 }; return records.count >= count ? records : nil
    }
  }

  /// Waits for that many suspended requests and takes them.
  func responders(_ count: Int) throws -> [ParkedRequest] {
    try wait {
      self.parked.withLock { waiting in
        if waiting.count < count { return nil }
        defer { waiting = [] }
        return waiting
      }
    }
  }

  /// Holds the calling thread until a test lets it go.
  func block() {
    let release = WakeSignal()
    blocking.withLock { $0 = release }
    changed.give()
    release.wait(until: MonotonicClock.now() + 20_000_000_000)
  }

  /// Waits for a request that holds its thread, and tells how to let it go.
  func blocked() throws -> WakeSignal { try wait { self.blocking.withLock { $0.take() } } }

  private func wait<Result>(for result: () -> Result?) throws -> Result {
    let end = MonotonicClock.now() + 20_000_000_000
    while MonotonicClock.now() < end {
      if let result = result() { return result }
      changed.wait(until: end)
    }
    throw RawClient.Failure(description: "the handler was not told in time")
  }

  static func text(_ text: String) -> HTTPResponse { HTTPResponse(status: 200, body: Array(text.utf8)) }
}

/// A request that a test answers.
final class ParkedRequest: Sendable {
  private let continuation: Mutex<CheckedContinuation<HTTPResponse, Never>?>

  init(_ continuation: CheckedContinuation<HTTPResponse, Never>) { self.continuation = Mutex(continuation) }

  // A test may leave it to the server's stop.
  deinit { complete(TestHandler.text("dropped")) }

  /// Answers it. False when the answer is not sent, because the client has been seen to leave or the server has stopped.
  @discardableResult
  func complete(_ response: HTTPResponse) -> Bool {
    guard let continuation = continuation.withLock({ $0.take() }) else { return false }
    let refused = Flag()
    var response = response
    response.whenOver = { if !$0 { refused.isSet.store(true, ordering: .relaxed) } }
    // The server learns of it, and says what it thinks of it, within this call.
    continuation.resume(returning: response)
    return !refused.isSet.load(ordering: .relaxed)
  }

  private final class Flag: Sendable { let isSet = Atomic(false) }
}

/// Of a request whose client's leaving ends it.
private final class WatchedContext: HTTPContext { var endsWithClient: Bool { true } }

/// Counts and adds up the bytes that come; `/sink/full` has enough after 100 KiB, and `/sink/slow-disk` waits with the
/// first piece until it is let go on.
final class TestSink: HTTPBodySink, @unchecked Sendable {
  // One thread at a time.
  private(set) var count = 0
  private(set) var sum: UInt64 = 0
  private let handler: TestHandler
  private let name: String

  init(_ handler: TestHandler, name: String) { (self.handler, self.name) = (handler, name) }

  deinit { handler.noting("the sink of \(name)")() }

  func take(_ piece: RawSpan) -> HTTPResponse? {
    if name == "slow-disk", count == 0 { handler.block() }
    if name == "left", count == 0 { handler.noting("it came to left")() }
    count += piece.byteCount
    for offset in piece.byteOffsets { sum += UInt64(unsafe piece.unsafeLoad(fromByteOffset: offset, as: UInt8.self)) }
    guard name == "full", count > 100 << 10 else { return nil }
    return HTTPResponse(status: 507, body: Array("full".utf8))
  }
}

/// A server with its handler, on 127.0.0.1 unless told otherwise, stopped with this value.
final class TestServer {
  let handler = TestHandler()
  let server: HTTPService

  init(
    _ listen: [ListenAddress] = [.tcp(host: "127.0.0.1", port: 0)],
    _ change: (inout HTTPServerConfiguration) -> Void = { _ in }
  )
    throws
  {
    var configuration = HTTPServerConfiguration(listen: listen)
    change(&configuration)
    server = try HTTPService(configuration: configuration, handler: handler)
    try server.start()
  }

  deinit {
    server.stop()
    // A responder leads back to the handler that keeps it.
    handler.forget()
  }

  /// A server on 127.0.0.1 that speaks TLS, or does not.
  convenience init(
    over transport: RawClient.Transport, _ change: (inout HTTPServerConfiguration) -> Void = { _ in }
  ) throws {
    let credentials = transport.isTLS ? try TestCertificates.shared.server() : nil
    try self.init { configuration in
      configuration.credentials = credentials
      change(&configuration)
    }
  }

  func client(_ transport: RawClient.Transport) throws -> RawClient { try client(0, transport) }

  func client(
    _ index: Int = 0, receiving buffer: Int32? = nil, _ transport: RawClient.Transport = .plain
  ) throws -> RawClient {
    try RawClient(server.boundAddresses[index], receiving: buffer, transport)
  }
}

/// All suites that open sockets, one test at a time.
@Suite(.serialized) enum HTTPServerTests {}

/// A short file's text.
func contents(of path: String) throws -> String {
  let descriptor = unsafe open(path, O_RDONLY)
  guard descriptor >= 0 else { throw RawClient.Failure(description: "no \(path)") }
  defer { close(descriptor) }
  var buffer = [UInt8](repeating: 0, count: 16384)
  let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
  return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
}

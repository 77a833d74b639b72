/// One request and its answer.
///
/// SAFETY (`@unchecked Sendable`): its connection's own thread is the only user of all variables but two. `isSettled` is
/// guarded by the connection's lock; `head` is written before there is a responder, the only other reader.
final class Exchange: @unchecked Sendable {
  let connection: Connection
  /// CLOCK_MONOTONIC nanoseconds at which the request line was complete.
  let started = monotonicNS()
  /// The responder has done its work. Guarded by the connection's lock.
  var isSettled = false

  private let target: [UInt8]
  private let targetAddress: UInt
  private(set) var awaitsHead = true
  private var head: HTTPRequestHead?
  private var refusedID: String?
  private var body: [UInt8] = []
  private var received = 0
  /// Decided before the end of the body; goes out at that end.
  private var verdict: HTTPResponse?
  private var isHandled = false
  private var status = 0
  private var bodySent = 0
  private var wasSentRaw = false

  init(_ connection: Connection, target: [UInt8], at address: UInt) {
    self.connection = connection
    self.target = target
    targetAddress = address
  }

  private var core: ServerCore { connection.core }
  private var bodyLimit: Int { core.configuration.bodyLimit }

  /// The head is complete. False, here and below, closes the connection.
  func receiveHead(_ mhd: MHDConnection, _ line: RequestLine) -> Bool {
    awaitsHead = false
    let outcome: HeadScan.Outcome
    do throws(IngressError) {
      outcome = try HeadScan.outcome(mhd, line, target: target, at: targetAddress, connection)
    } catch {
      return refuse(mhd, .badRequest(error.detail))
    }
    head = outcome.head
    if let length = outcome.head.contentLength, length > bodyLimit {
      return refuse(mhd, .bodyTooLarge(limit: bodyLimit))
    }
    verdict = core.handler.admit(outcome.head)
    // An answer given now closes the connection, so without a body it waits for the call that follows at once.
    guard outcome.hasBody else { return true }
    if outcome.bodyWaits, let verdict { return connection.claim() && send(verdict, mhd) }
    connection.expectBody(of: outcome.head.requestID)
    // A length is only a claim: a page or so of it is believed.
    if verdict == nil { body.reserveCapacity(min(outcome.head.contentLength ?? 0, 16 << 10)) }
    return true
  }

  /// A piece of the body.
  func receive(_ piece: UnsafeRawBufferPointer) -> Bool {
    received += piece.count
    if verdict == nil, received <= bodyLimit {
      // SAFETY: libmicrohttpd's buffer is valid for this call; it is copied.
      unsafe body.append(contentsOf: piece)
      return true
    }
    let answer = verdict ?? core.response(to: .bodyTooLarge(limit: bodyLimit), requestID)
    verdict = answer
    body = []
    // What is thrown away is bounded as well; libmicrohttpd takes no answer here, so it goes out beside it.
    guard received > 2 * bodyLimit else { return true }
    if connection.claim() {
      status = answer.status
      wasSentRaw = connection.sendRaw(core.serialized(answer, requestID))
      bodySent = answer.body.count
    }
    return false
  }

  /// The request is complete, or its suspension over.
  func receiveEnd(_ mhd: MHDConnection) -> Bool {
    if isHandled {
      guard let answer = connection.takeAnswer() else { return false }
      return send(answer, mhd)
    }
    guard let head, connection.claim() else { return false }
    isHandled = true
    if let verdict { return send(verdict, mhd) }
    let request = HTTPRequest(head: head, body: body)
    body = []
    switch core.handler.respond(to: request) {
    case .now(let response):
      return send(response, mhd)
    case .later(let start):
      start(HTTPResponder(self))
      switch connection.suspend(mhd) {
      case .answered(let response): return send(response, mhd)
      case .refused: return send(core.response(to: .shuttingDown, requestID), mhd)
      case .suspended: return true
      }
    }
  }

  private func refuse(_ mhd: MHDConnection, _ refusal: HTTPRefusal) -> Bool {
    connection.claim() && send(core.response(to: refusal, requestID), mhd)
  }

  private var requestID: String {
    if let head { return head.requestID }
    let id = refusedID ?? core.makeRequestID()
    refusedID = id
    return id
  }

  private func send(_ response: HTTPResponse, _ mhd: MHDConnection) -> Bool {
    if queue(response, mhd) { return true }
    let detail = "the server made an answer that cannot be sent"
    return queue(core.response(to: .internalError(detail), requestID), mhd) || queue(HTTPResponse(status: 500), mhd)
  }

  private func queue(_ response: HTTPResponse, _ mhd: MHDConnection) -> Bool {
    guard (200...599).contains(response.status) else { return false }
    guard let made = MHDResponse(body: response.body) else { return false }
    for field in response.headers where !made.add(field.name, field.value) { return false }
    guard made.add("X-Request-Id", requestID) else { return false }
    if core.draining.load(ordering: .relaxed), !made.add("Connection", "close") { return false }
    guard mhd.queue(made, status: response.status) else { return false }
    status = response.status
    bodySent = head?.method == "HEAD" || status == 204 || status == 304 ? 0 : response.body.count
    return true
  }

  /// From any thread.
  func complete(_ response: HTTPResponse) { connection.complete(self, response) }

  /// The responder is gone; answers 500 if it left without a word. From any thread.
  func abandon() {
    guard connection.awaits(self) else { return }
    // The head was stored before the responder was made and does not change.
    let id = head?.requestID ?? ""
    complete(core.response(to: .internalError("the server dropped the request without an answer"), id))
  }

  /// Answers a suspended request because the server stops. From any thread.
  func refuseForStop() { complete(core.response(to: .shuttingDown, head?.requestID ?? "")) }

  /// The request is over: its answer sent, or its client gone. `ownStatus` is libmicrohttpd's word.
  func end(sent: Bool, ownStatus: Int) {
    let timeout = connection.finish()
    var record = HTTPAccessRecord(
      method: head?.method ?? "", rawPath: head?.rawPath ?? escapedPath, status: status, requestID: requestID,
      peer: connection.peer, durationNS: monotonicNS() - started, bytesReceived: received, bytesSent: bodySent,
      userAgent: head?.headers["User-Agent"], aborted: !sent && !wasSentRaw)
    if let timeout {
      record.status = HTTPRefusal.requestTimeout.status
      record.requestID = timeout.requestID
      record.bytesSent = timeout.bytesSent ?? 0
      record.aborted = timeout.bytesSent == nil
    } else if status == 0, ownStatus != 0 {
      record.status = ownStatus
      record.aborted = false
    }
    if record.aborted { record.bytesSent = 0 }
    core.handler.completed(record)
    if core.stopping.load(ordering: .relaxed) { core.finished.give() }
  }

  /// The path of a head that was refused, fit for a log.
  private var escapedPath: String {
    var path: [UInt8] = []
    for byte in target.prefix(while: { $0 != 0x3F }) {
      if ASCII.isVisible(byte) {
        path.append(byte)
      } else {
        path += [0x25, ASCII.hexDigits[Int(byte >> 4)], ASCII.hexDigits[Int(byte & 15)]]
      }
    }
    return String(decoding: path, as: UTF8.self)
  }
}

import LinuxSupport

/// One request and its answer. Used on its connection's thread only.
final class Exchange {
  /// CLOCK_MONOTONIC nanoseconds at which the request line was complete.
  let started = MonotonicClock.now()
  /// True until the request has been received as far as it is wanted.
  private(set) var isReceiving = true
  private(set) var isOver = false

  private unowned let connection: Connection
  private let target: [UInt8]
  private let targetAddress: UInt
  private(set) var awaitsHead = true
  /// Empty until it is understood, and for good when it is refused.
  private var head = HTTPRequestHead(method: "", rawPath: "", pathSegments: [])
  private var body: [UInt8] = []
  private var received = 0
  /// Takes the body as it comes.
  private var feed: BodyFeed?
  /// The connection is suspended until the sink has taken what has come.
  private var isHeld = false
  /// Decided before the end of the body; goes out at that end.
  private var verdict: HTTPResponse?
  /// However long the body is that goes with the verdict, it is thrown away rather than cut off.
  private var isPatient = false
  private var suspension: Suspension?
  private var transfer: Transfer?
  private var file: FileTransfer?
  private var status = 0
  private var bodySent = 0
  private var label: String?
  private var whenOver: (@Sendable (_ isDelivered: Bool) -> Void)?
  private var wasSentRaw = false

  init(_ connection: Connection, target: [UInt8], at address: UInt) {
    self.connection = connection
    self.target = target
    targetAddress = address
  }

  /// The answer is on its way to the client, or the client takes a stream.
  var isAnswering: Bool { !isReceiving && suspension == nil }

  /// Bytes of the answer that libmicrohttpd has taken so far, as far as that can be known.
  var bytesGiven: Int { file?.given ?? transfer?.given ?? 0 }

  private var core: ServerCore { connection.thread.core }
  private var bodyLimit: Int { core.configuration.bodyLimit }

  /// The head is complete. False, here and below, closes the connection.
  func receiveHead(_ mhd: MHDConnection, _ line: RequestLine) -> Bool {
    awaitsHead = false
    let outcome: HeadScan.Outcome
    do throws(IngressError) {
      outcome = try HeadScan.read(&head, mhd, line, target: target, at: targetAddress, connection)
    } catch {
      return refuse(mhd, .badRequest(error.detail))
    }
    guard connection.admits(head) else {
      return refuse(mhd, .tooManyConnections(limit: core.load.connectionLimit))
    }
    switch core.handler.admit(&head) {
    case .answer(let response):
      verdict = response
      isPatient = true
    case .sink(let sink): feed = BodyFeed(sink, connection.thread)
    case .collect:
      if let length = head.contentLength, length > bodyLimit {
        return refuse(mhd, .bodyTooLarge(limit: bodyLimit))
      }
    }
    // An answer given now closes the connection, so without a body it waits for the call that follows at once.
    guard outcome.hasBody else { return true }
    if outcome.bodyWaits, let verdict { return claim() && send(verdict, mhd) }
    // A length is only a claim: a page or so of it is believed.
    if verdict == nil, feed == nil { body.reserveCapacity(min(head.contentLength ?? 0, 16 << 10)) }
    return true
  }

  /// A piece of the body; `rest` becomes what is left of it, to be offered again.
  func receive(_ mhd: MHDConnection, _ piece: UnsafeRawBufferPointer, rest: inout Int) -> Bool {
    // Answered already: what still comes is thrown away for as long as the client has to take the answer.
    if isReceiving, let feed {
      // libmicrohttpd must not be stopped with a suspended connection.
      if connection.thread.isStopping { return false }
      if isHeld { connection.renewDeadline() }
      isHeld = false
      // Safe: libmicrohttpd's buffer is valid for this call; what is kept of it is copied.
      switch unsafe feed.add(piece, mhd) {
      case .taken:
        rest = 0
        received += piece.count
        connection.credit(piece.count, at: MonotonicClock.now())
        return true
      case .suspended:
        isHeld = true
        connection.holdDeadline()
        return true
      case .over: return false
      case .answered: sendSinkAnswer()
      }
    }
    rest = 0
    received += piece.count
    guard isReceiving else { return true }
    if verdict == nil, received <= bodyLimit {
      connection.credit(piece.count, at: MonotonicClock.now())
      // Safe: as above; it is copied.
      unsafe body.append(contentsOf: piece)
      return true
    }
    let answer = verdict ?? core.response(to: .bodyTooLarge(limit: bodyLimit), head.requestID)
    verdict = answer
    body = []
    // The end is not waited for for ever; libmicrohttpd takes no answer here, so it goes out beside it.
    guard received > 2 * bodyLimit else { return true }
    if claim() { sendRaw(answer) }
    return isPatient
  }

  /// Sends the sink's answer, if there is one, though the body has not ended.
  func sendSinkAnswer() {
    guard isReceiving, let answer = feed?.takeAnswer() else { return }
    feed = nil
    if isHeld { connection.renewDeadline() }
    isHeld = false
    if claim() { sendRaw(answer) }
  }

  /// The request is complete, or its suspension over.
  func receiveEnd(_ mhd: MHDConnection) -> Bool {
    if let suspension {
      guard let answer = suspension.takeAnswer() else { return false }
      self.suspension = nil
      connection.renewDeadline()
      return send(answer, mhd)
    }
    if isReceiving, let feed {
      if connection.thread.isStopping { return false }
      switch feed.drain(mhd) {
      case .taken: break
      case .suspended:
        isHeld = true
        connection.holdDeadline()
        return true
      case .over: return false
      case .answered(let answer): verdict = answer
      }
      if isHeld { connection.renewDeadline() }
      isHeld = false
    }
    guard claim() else { return false }
    if let verdict { return send(verdict, mhd) }
    let request = HTTPRequest(head: head, body: body, sink: feed?.sink)
    body = []
    feed = nil
    return respond(to: request, mhd)
  }

  private func respond(to request: HTTPRequest, _ mhd: MHDConnection) -> Bool {
    let suspension = Suspension(connection.thread, mhd.socket, head.requestID)
    suspension.run(request)
    if connection.thread.isStopping { suspension.complete(.shuttingDown) }
    if let answer = suspension.begin(mhd) { return send(answer, mhd) }
    self.suspension = suspension
    connection.suspendDeadline()
    return true
  }

  private func stream(_ mhd: MHDConnection, _ response: HTTPResponse, _ start: (HTTPStream) -> Void) -> Bool {
    let transfer = Transfer(connection.thread, mhd, body: response.body)
    guard queue(response, mhd, transfer) else { return refuseAnswer(mhd) }
    guard hasBody(response) else { return true }
    self.transfer = transfer
    core.load.streamBegan()
    connection.holdDeadline()
    transfer.begin()
    start(HTTPStream(transfer))
    if connection.thread.isStopping { transfer.finish() }
    return true
  }

  /// Answers the request if it is suspended, ends its stream if it has one, and cuts it off where it waits for a disk.
  /// False when it does none of these.
  func endWaiting() -> Bool {
    suspension?.complete(.shuttingDown)
    transfer?.finish()
    let isHeld = [feed?.abandon(), file?.end()].contains(true)
    return isHeld || suspension != nil || transfer != nil
  }

  /// The deadline has passed.
  func expire() {
    if claim() { sendRaw(verdict ?? core.response(to: .requestTimeout, requestID())) }
  }

  /// Answers a head whose Content-Length libmicrohttpd is about to refuse.
  func refuseLength(isTooLarge: Bool) {
    awaitsHead = false
    let refusal: HTTPRefusal =
      isTooLarge ? .bodyTooLarge(limit: bodyLimit) : .badRequest("a Content-Length that is not a number")
    if claim() { sendRaw(core.response(to: refusal, requestID())) }
  }

  /// Takes the right to answer, of which there is one.
  private func claim() -> Bool {
    guard isReceiving else { return false }
    isReceiving = false
    connection.extendDeadline()
    return true
  }

  private func sendRaw(_ answer: HTTPResponse) {
    status = answer.status
    bodySent = answer.body.count
    wasSentRaw = connection.sendRaw(core.serialized(answer, requestID()))
  }

  /// The client's, or else, at the latest now, one of our own.
  private func requestID() -> String {
    if head.requestID.isEmpty { head.requestID = core.makeRequestID() }
    return head.requestID
  }

  private func refuse(_ mhd: MHDConnection, _ refusal: HTTPRefusal) -> Bool {
    claim() && send(core.response(to: refusal, requestID()), mhd)
  }

  private func send(_ response: HTTPResponse, _ mhd: MHDConnection) -> Bool {
    if let start = response.stream { return stream(mhd, response, start) }
    if queue(response, mhd) { return true }
    response.whenOver?(false)
    return refuseAnswer(mhd)
  }

  private func refuseAnswer(_ mhd: MHDConnection) -> Bool {
    let detail = "the server made an answer that cannot be sent"
    return queue(core.response(to: .internalError(detail), requestID()), mhd)
      || queue(HTTPResponse(status: 500), mhd)
  }

  private func queue(_ response: HTTPResponse, _ mhd: MHDConnection, _ transfer: Transfer? = nil) -> Bool {
    guard (200...599).contains(response.status) else { return false }
    let source = response.file.map { FileTransfer($0, of: response, connection.thread, mhd) }
    guard let made = MHDResponse(response.body, transfer, source, isForHEAD: head.method == "HEAD") else {
      return false
    }
    for field in response.headers where !made.add(field.name, field.value) { return false }
    guard made.add("X-Request-Id", head.requestID) else { return false }
    if core.draining.load(ordering: .relaxed) || connection.isReserve, !made.add("Connection", "close") { return false }
    guard mhd.queue(made, status: response.status) else { return false }
    if connection.thread.isStopping { source?.end() }
    file = source
    status = response.status
    label = response.label
    whenOver = response.whenOver
    bodySent = hasBody(response) ? source?.size ?? response.body.count : 0
    return true
  }

  private func hasBody(_ response: HTTPResponse) -> Bool {
    head.method != "HEAD" && response.status != 204 && response.status != 304
  }

  /// The request is over: its answer sent, or its client gone. `ownStatus` is libmicrohttpd's word.
  func end(sent: Bool, ownStatus: Int) {
    let now = MonotonicClock.now()
    isOver = true
    feed?.abandon()
    feed = nil
    file?.end()
    if transfer != nil { core.load.streamEnded() }
    connection.finish(now)
    // A status that is not ours is that of a page libmicrohttpd has made; it counts such a request as failed.
    let isForeign = status == 0 && ownStatus != 0
    let isAborted = !sent && !wasSentRaw && !isForeign
    let stream = transfer?.end()
    core.handler.completed(
      HTTPAccessRecord(
        method: head.method, rawPath: head.rawPath.isEmpty ? escapedPath : head.rawPath,
        status: isForeign ? ownStatus : status, requestID: requestID(), peer: connection.peer,
        durationNS: now - started, bytesSent: stream?.taken ?? (isAborted ? 0 : bodySent), aborted: isAborted,
        label: label))
    stream?.whenClosed?()
    whenOver?(!isAborted)
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

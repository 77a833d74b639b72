import Access
import Control
import HTTPServer
import JSONCodec
import PoolManager
import VCPURuntime

// The way of every request, from its head to its record. Each step is a function, in the order in which they run.
//
// At the head: admit → identify → authorise → limit (`Identification.swift`).
// With the body: idempotency → the operation → the answer is on its way.
// A refusal for want of a key or a scope is recorded where it is made, at the head or with the body (`RefusedAttempts.swift`).
// A change's entry is written with the change.
// When the answer has been sent: the metrics and the access log.

extension APIHandler {
  // MARK: At the head

  /// Steps 1 to 4: refuses what can be refused before the body is there, and makes the request's context.
  public func admit(_ head: inout HTTPRequestHead) -> HTTPAdmission {
    var attempt: (route: Route, principal: Principal?)?
    do throws(APIProblem) {
      try admission.check(head)
      if head.method == "OPTIONS" { return .answer(try options(head)) }
      let (route, parameters) = try find(head)
      attempt = (route, nil)
      let (principal, key) = try identify(head, for: route)
      attempt = (route, principal)
      let context = Context(
        head, route: route, parameters: parameters, query: try Query(head.query, allowed: route.query),
        principal: principal)
      try context.checkTenant()
      try authorise(context)
      try limit(context, key)
      let destination = try admitBody(context)
      head.context = context
      return destination
    } catch {
      if let attempt { note(error, of: head, for: attempt.route, by: attempt.principal) }
      return .answer(error.response(requestID: head.requestID))
    }
  }

  private func admitBody(_ context: Context) throws(APIProblem) -> HTTPAdmission {
    let (route, head) = (context.route, context.head)
    try BodyForm.check(head.headers, for: route)
    if case .bytes(let limit) = route.body, let length = head.contentLength, length > limit {
      throw .tooLarge(limit: limit)
    }
    return try route.admission?(self, context) ?? .collect
  }

  // MARK: With the body

  /// Steps 5 and 6: idempotency and the operation.
  public func respond(to request: HTTPRequest) async -> HTTPResponse {
    guard let context = request.head.context as? Context else {
      return APIProblem(.internalError, "The request was not admitted.").response(requestID: request.head.requestID)
    }
    context.complete(request)
    answerBegun()
    defer { answerEnded() }
    var response: HTTPResponse
    do throws(APIProblem) {
      // While the body came, the key may have ended.
      if context.use?.hasEnded == true { throw .unauthenticated }
      response = try await once(context)
    } catch {
      let problem = context.use?.hasEnded == true ? .unauthenticated : error
      note(problem, of: context.head, for: context.route, by: context.principal)
      response = problem.response(requestID: context.requestID)
    }
    if let use = context.use { response.end(with: use) } else { endWithRules(&response, context) }
    response.label = context.route.template
    return response
  }

  /// Step 5: the answer to a request that came with an `Idempotency-Key` is made once, and kept before it is sent.
  ///
  /// An answer is kept, and stays true even if its client has left. A problem has changed nothing, so its key may come again.
  /// So may the key of an answer whose lease or VM has ended. There is nothing between the two, since they are two ends of one
  /// function.
  private func once(_ context: Context) async throws(APIProblem) -> HTTPResponse {
    guard context.route.isIdempotent, let key = try context.header("Idempotency-Key") else {
      return try await context.route.operation(self, context)
    }
    let beginning: IdempotentRequest.Beginning
    do throws(IdempotencyRefusal) {
      beginning = try IdempotentRequest.begin(
        key: key, scope: context.idempotencyScope, body: context.body, in: state
      ) { answer in context.route.stillHolds(answer, in: self) }
    } catch {
      throw APIProblem(error)
    }
    switch beginning {
    case .replay(let stored): return HTTPResponse(replaying: stored)
    case .first(let request):
      do throws(APIProblem) {
        let answer = try await context.route.operation(self, context)
        guard VCPU.isCallingThread else { return request.keeping(answer) }
        // A guest's end brought the request here, and a vCPU's thread writes no files. Where no worker is free, a repetition
        // hears that the first request is still in progress.
        return (try? await working { request.keeping(answer) }) ?? answer
      } catch {
        request.forget()
        throw error
      }
    }
  }

  // MARK: When the answer is on its way

  /// Step 7: what the operation has put off until now.
  public func answered(_ request: HTTPRequest, with response: HTTPResponse) {
    (request.head.context as? Context)?.afterwards.take()?()
  }

  // MARK: When the answer has been sent

  /// Counts the request, and has it logged.
  public func completed(_ record: HTTPAccessRecord) {
    // What was refused before it had been routed has no label.
    let template = record.label ?? router.template(ofRaw: record.rawPath)
    requestMetrics.record(method: record.method, route: template, status: record.status, ns: record.durationNS)
    configuration.accessLog?(record, template)
  }

  /// The server's own refusals, as problem documents.
  public func response(to refusal: HTTPRefusal, requestID: String) -> HTTPResponse {
    APIProblem(refusal).response(requestID: requestID)
  }

  // MARK: Routing

  private func find(_ head: HTTPRequestHead) throws(APIProblem) -> (Route, PathParameters) {
    guard let (path, found) = router.find(head.pathSegments), head.rawPath != "*" else {
      throw .noSuchPath(head.rawPath)
    }
    guard let route = path.route(head.method) else {
      let detail = "\(head.rawPath.clipped()) has no \(head.method.clipped(to: 32)); it has \(path.allow)."
      throw APIProblem(.methodNotAllowed, detail, allow: path.allow)
    }
    switch found {
    case .success(let parameters): return (route, parameters)
    case .failure(let fault):
      throw APIProblem(.invalidParameter, "In the path, \(fault.parameter.objection(to: fault.text)).")
    }
  }

  private func options(_ head: HTTPRequestHead) throws(APIProblem) -> HTTPResponse {
    let allow: String
    if head.rawPath == "*" {
      allow = (HTTPMethod.allCases.map(\.rawValue) + ["HEAD", "OPTIONS"]).joined(separator: ", ")
    } else if let found = router.find(head.pathSegments) {
      allow = found.path.allow
    } else {
      throw .noSuchPath(head.rawPath)
    }
    var response = HTTPResponse.noContent
    response.headers.append(("Allow", allow))
    return response
  }
}

extension APIProblem {
  fileprivate static func noSuchPath(_ rawPath: String) -> APIProblem {
    APIProblem(
      .routeNotFound, "There is nothing at \(rawPath.clipped()); GET /openapi.yaml describes the paths there are.")
  }

  static func tooLarge(limit: Int) -> APIProblem {
    APIProblem(.payloadTooLarge, "The body is larger than \(limit) bytes.")
  }
}

import Control
import HTTPServer
import StateStore

extension IdempotentRequest {
  /// Keeps an answer that is about to be sent. A client that does not get it can ask again, so nothing is taken back when
  /// it cannot be delivered.
  func keeping(_ answer: HTTPResponse) -> HTTPResponse {
    var answer = answer
    if let whenOver = answer.whenOver { answer.whenOver = { _ in whenOver(true) } }
    let fields = answer.headers.map { StoredResponse.Field(name: $0.name, value: $0.value) }
    keep(StoredResponse(status: answer.status, headers: fields, body: answer.body))
    return answer
  }
}

extension Route {
  /// Whether an answer that was kept may be given again: what it says was made must not have ended. Looks in memory alone.
  func stillHolds(_ answer: StoredResponse, in api: APIHandler) -> Bool {
    guard let isThere, let location = answer.headers.first(where: { $0.name == "Location" })?.value,
      let id = location.split(separator: "/").last
    else { return true }
    return isThere(api, String(id))
  }
}

extension HTTPResponse {
  /// The answer to the first of several requests, for another of them.
  init(replaying stored: StoredResponse) {
    let fields = stored.headers.map { (name: $0.name, value: $0.value) } + [("Idempotent-Replayed", "true")]
    self.init(status: stored.status, headers: fields, body: stored.body)
  }
}

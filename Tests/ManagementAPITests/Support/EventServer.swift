import APIModel
import Control
import Foundation
import HTTPServer
import JSONCodec

@testable import ManagementAPI

/// The API behind a real HTTP server, for what only a connection can show.
final class EventServer {
  struct Failure: Error { var what: String }

  let harness: Harness
  var api: APIHandler { harness.api }
  let service: HTTPService
  private let port: UInt16
  private let gate: GatedHandler

  var log: EventLog { api.events }

  /// `beforeStream` is called with the log when an answer is decided on and has not begun.
  init(
    _ events: EventLog.Configuration = .init(), beforeStream: @escaping @Sendable (EventLog) -> Void = { _ in }
  ) throws {
    harness = Harness(factory: StubFactory(), events: events)
    gate = GatedHandler(harness.api, beforeStream)
    service = try HTTPService(
      configuration: HTTPServerConfiguration(listen: [.tcp(host: "127.0.0.1", port: 0)]), handler: gate)
    try service.start()
    guard case .tcp(_, let port) = service.boundAddresses[0] else { throw Failure(what: "no port") }
    self.port = port
  }

  deinit { service.stop() }

  /// Begins to listen, and waits until the server knows.
  func listen(_ query: String = "", _ fields: String = "") throws -> EventReader {
    let reader = try get("GET", "/v1/events\(query)", fields)
    guard reader.status == 200 else { throw Failure(what: "status \(reader.status)") }
    return reader
  }

  /// Sends a request and reads the answer's head. HTTP/1.0 spares the tests chunks.
  func get(_ method: String, _ target: String, _ fields: String = "") throws -> EventReader {
    try EventReader(port: port, "\(method) \(target) HTTP/1.0\r\nHost: localhost\r\n\(fields)\r\n")
  }

  /// Waits until something is so: half a minute at most.
  func wait(until isSo: () -> Bool) throws {
    let end = Date().addingTimeInterval(30)
    while !isSo() {
      if Date() > end { throw Failure(what: "it does not come about") }
      usleep(1000)
    }
  }
}

/// The API, with something happening between its decision and what follows from it.
private final class GatedHandler: HTTPHandler {
  private let api: APIHandler
  private let beforeStream: @Sendable (EventLog) -> Void

  init(_ api: APIHandler, _ beforeStream: @escaping @Sendable (EventLog) -> Void) {
    self.api = api
    self.beforeStream = beforeStream
  }

  func admit(_ head: inout HTTPRequestHead) -> HTTPAdmission { api.admit(&head) }
  func response(to refusal: HTTPRefusal, requestID: String) -> HTTPResponse {
    api.response(to: refusal, requestID: requestID)
  }
  func completed(_ record: HTTPAccessRecord) { api.completed(record) }

  func answered(_ request: HTTPRequest, with response: HTTPResponse) { api.answered(request, with: response) }

  func respond(to request: HTTPRequest) async -> HTTPResponse {
    let response = await api.respond(to: request)
    if response.stream != nil { beforeStream(api.events) }
    return response
  }
}

/// Reads events off a connection.
final class EventReader {
  private(set) var status = 0
  private(set) var headers: [String: String] = [:]
  private(set) var lastID = ""
  private var descriptor: Int32
  private var buffer: [UInt8] = []
  private var heartbeats = 0

  init(port: UInt16, _ request: String) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var patience = timeval(tv_sec: 30, tv_usec: 0)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let isConnected = unsafe withUnsafePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard isConnected, unsafe send(descriptor, request, request.utf8.count, 0) == request.utf8.count else {
      throw EventServer.Failure(what: "cannot connect: errno \(errno)")
    }
    let line = try line() ?? ""
    status = line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    while let line = try self.line(), !line.isEmpty {
      let parts = line.components(separatedBy: ": ")
      headers[parts[0]] = parts.dropFirst().joined(separator: ": ")
    }
    // The server says where events are as soon as it has let a client in.
    while status == 200, headers["Content-Type"] == "text/event-stream", lastID.isEmpty, let line = try self.line() {
      take(line)
    }
  }

  deinit { leave() }

  func leave() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
  }

  /// The next event; nil at the end of the stream.
  func nextIfAny() throws -> EventDocument? {
    while let line = try line() {
      if let data = take(line) { return try JSON.decode(EventDocument.self, from: Array(data.utf8)) }
    }
    return nil
  }

  func next() throws -> EventDocument {
    guard let event = try nextIfAny() else { throw EventServer.Failure(what: "the stream ended") }
    return event
  }

  func details(_ count: Int) throws -> [String] { try (0..<count).map { _ in try next().detail ?? "" } }

  func detailsToTheEnd() throws -> [String] {
    var details: [String] = []
    while let event = try nextIfAny() { details.append(event.detail ?? "") }
    return details
  }

  /// Reads until that many heartbeats have come, with the ids that follow them.
  func heartbeats(_ count: Int) throws {
    let wanted = heartbeats + count
    while heartbeats < wanted, let line = try line() { take(line) }
    _ = try line().map(take)
  }

  /// The data of a line, if it has some.
  @discardableResult
  private func take(_ line: String) -> String? {
    if line == ":" { heartbeats += 1 }
    if line.hasPrefix("id: ") { lastID = String(line.dropFirst(4)) }
    return line.hasPrefix("data: ") ? String(line.dropFirst(6)) : nil
  }

  private func line() throws -> String? {
    while true {
      if let end = buffer.firstIndex(of: 0x0A) {
        let line = buffer[..<end].last == 0x0D ? buffer[..<(end - 1)] : buffer[..<end]
        buffer.removeSubrange(...end)
        return String(decoding: line, as: UTF8.self)
      }
      let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
        count = unsafe recv(descriptor, buffer.baseAddress, 65536, 0)
        if count < 0 { count = 0 }
      }
      if bytes.isEmpty { return nil }
      buffer += bytes
    }
  }
}

import APIModel
import Access
import BlobStore
import Control
import Dispatch
import Foundation
import GuestImages
import HTTPServer
import JSONCodec
import KVM
import LinuxSupport
import MachineRuntime
import Metrics
import PoolManager
import StateStore
import Synchronization
import TestSupport
import Testing
import VCPURuntime

@testable import ManagementAPI

/// The API in process, without sockets: what the HTTP server would ask of it, in the same order.
///
/// Every answer is held against the OpenAPI document: its status and its content type must be described there.
final class Harness: Sendable {
  let fleet: Fleet
  let pools: PoolDeclarations
  let images: ImageCatalogue
  let state: StateDatabase
  let api: APIHandler

  /// `blobs`: a directory for them; nil: one of their own.
  init(
    factory: any MachineFactory, limits: FleetLimits = FleetLimits(), hostNames: [String] = [],
    events: EventLog.Configuration = .init(), blobs: String? = nil, blobLimits: BlobLimits = BlobLimits(),
    controlNS: UInt64 = 5_000_000_000, load: HTTPLoad = HTTPLoad(),
    configure: (inout APIHandler.Configuration) -> Void = { _ in }
  ) {
    let events = EventLog(events)
    state = Self.stateInMemory()
    let journal = StateJournal(state)
    fleet = Fleet(
      factory: factory, mechanism: .immediateExit, limits: limits, journal: journal, observer: events.publish)
    let host = HostFacts(kvmAPIVersion: 12, capabilities: ["immediate_exit": 1], cpu: "Test", ring0Emulated: false)
    images = ImageCatalogue(blobs: Self.store(blobs, blobLimits), journal: journal)
    pools = PoolDeclarations(fleet: fleet, images: images, journal: journal)
    var configuration = APIHandler.Configuration(
      host: host, hostNames: hostNames, controlNS: controlNS, load: load)
    configure(&configuration)
    api = APIHandler(
      fleet: fleet, pools: pools, images: images, events: events, state: state, configuration: configuration)
  }

  private static func store(_ directory: String?, _ limits: BlobLimits) -> BlobRepository {
    do throws(BlobStoreError) {
      return try BlobRepository(directory: directory, limits: limits)
    } catch {
      preconditionFailure("\(error)")
    }
  }

  private static func stateInMemory() -> StateDatabase {
    do throws(StateStoreError) {
      return try StateDatabase.open(directory: nil)
    } catch {
      preconditionFailure("\(error)")
    }
  }

  /// On the host's KVM.
  convenience init(limits: FleetLimits = FleetLimits(), hostNames: [String] = []) throws {
    self.init(
      factory: KVMMachineFactory(system: try RealKVM.system.get()), limits: limits, hostNames: hostNames)
  }

  deinit {
    for pool in fleet.pools {
      let gone = CountingSemaphore()
      // A deletion also ends where a VM was quarantined. The test of that VM has failed then.
      if (try? fleet.deletePool(pool.name, force: true, untilNS: nil) { _ in gone.signal() }) != nil { gone.wait() }
    }
    for vm in fleet.vms(after: nil, limit: .max).vms {
      let gone = CountingSemaphore()
      if (try? fleet.delete(vm.id, fence: nil) { _ in gone.signal() }) != nil { gone.wait() }
    }
  }

  /// Sends a request, waits for its answer, and checks that the OpenAPI document knows of it.
  @discardableResult
  func send(
    _ method: String, _ target: String, _ body: String = "", headers: [(String, String)] = [("Host", "localhost:8080")],
    peer: String = "127.0.0.1", sourceLocation: SourceLocation = #_sourceLocation
  ) -> Reply {
    send(method, target, bytes: Array(body.utf8), headers: headers, peer: peer, sourceLocation: sourceLocation)
  }

  /// As above; a body that goes to a sink comes in pieces of `piece` bytes.
  @discardableResult
  func send(
    _ method: String, _ target: String, bytes: [UInt8], piece: Int = 4096,
    headers: [(String, String)] = [("Host", "localhost:8080")], peer: String = "127.0.0.1",
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> Reply {
    var request = Self.request(method, target, bytes, headers, peer)
    let response: HTTPResponse
    switch api.admit(&request.head) {
    case .answer(let verdict): response = verdict
    case .collect: response = answer(request)
    case .sink(let sink):
      request.body = []
      request.sink = sink
      response = Self.feed(bytes, to: sink, piece) ?? answer(request)
    }
    response.whenOver?(true)
    let reply = Reply(response)
    reply.checkCommonRules(sourceLocation)
    // `*` has no segments either, and is no path.
    if target != "*" { OpenAPIDocument.shared.check(reply, to: method, request.head.pathSegments, sourceLocation) }
    return reply
  }

  /// What the sink answers before it has all of it.
  private static func feed(_ bytes: [UInt8], to sink: any HTTPBodySink, _ piece: Int) -> HTTPResponse? {
    for start in stride(from: 0, to: bytes.count, by: piece) {
      let part = Array(bytes[start..<min(start + piece, bytes.count)])
      if let answer = sink.take(unsafe part.span.bytes) { return answer }
    }
    return nil
  }

  /// The answer to a request that was admitted. The caller's thread takes the part of the connection's.
  func answer(_ request: HTTPRequest) -> HTTPResponse { begin(request).wait() }

  /// Begins to answer, as a connection does; what is returned waits for the answer, or leaves before it.
  func begin(_ request: HTTPRequest) -> Asking { Asking(api, request) }

  /// Admits a request and begins to answer it.
  func ask(
    _ method: String, _ target: String, _ body: String = "", headers: [(String, String)] = [("Host", "localhost")]
  ) -> Asking {
    var request = Self.request(method, target, Array(body.utf8), headers)
    guard case .collect = api.admit(&request.head) else { preconditionFailure("\(method) \(target) is refused") }
    return begin(request)
  }

  /// A client that waits for its answer.
  final class Asking: Sendable {
    private let answer = Mutex<HTTPResponse?>(nil)
    private let answered = CountingSemaphore()
    private let task: Mutex<Task<Void, Never>?> = Mutex(nil)

    fileprivate init(_ api: APIHandler, _ request: HTTPRequest) {
      let task = Task(executorPreference: InlineExecutor.shared) {
        let response = await api.respond(to: request)
        api.answered(request, with: response)
        self.answer.withLock { $0 = response }
        self.answered.signal()
      }
      self.task.withLock { $0 = task }
    }

    var isAnswered: Bool { answer.withLock { $0 != nil } }

    /// Closes the connection. What was answered is not delivered.
    func leave() {
      task.withLock { $0 }?.cancel()
      wait().whenOver?(false)
    }

    /// The answer; one of status 599 where there is none for two minutes.
    func wait() -> HTTPResponse {
      guard answered.wait(untilNS: MonotonicClock.now() + 120_000_000_000) else { return HTTPResponse(status: 599) }
      answered.signal()
      return answer.withLock { $0 } ?? HTTPResponse(status: 599)
    }
  }

  static func request(
    _ method: String, _ target: String, _ body: [UInt8] = [], _ headers: [(String, String)] = [],
    _ peer: String = "127.0.0.1"
  ) -> HTTPRequest {
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let segments = parts[0] == "/" || parts[0] == "*" ? [] : parts[0].dropFirst().components(separatedBy: "/")
    let query = (parts.count > 1 ? parts[1].components(separatedBy: "&") : []).map { member in
      let pair = member.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      return (name: pair[0], value: pair.count > 1 ? pair[1] : "")
    }
    let head = HTTPRequestHead(
      method: method, rawPath: String(parts[0]), pathSegments: segments, query: query,
      headers: HTTPHeaders(headers.map { (name: $0.0, value: $0.1) }), requestID: "test-1", peer: peer,
      contentLength: body.isEmpty ? nil : body.count)
    return HTTPRequest(head: head, body: body)
  }

  // MARK: Tenants

  /// The header fields of a client with a new key of a tenant. The first key that a harness makes closes its server.
  func client(
    _ tenant: Tenant, scopes: [Scope] = Scope.allCases.filter { $0 != .admin }, pools: Set<String>? = nil
  ) throws -> [(String, String)] {
    let key = try api.keys.make(
      KeyGrant(tenant: tenant, scopes: Scopes(scopes), pools: pools), ttlMS: nil, isClosed: true, by: .server)
    return [("Host", "localhost"), ("Authorization", "Bearer \(key.text.text)")]
  }

  // MARK: Shortcuts

  /// Creates a VM and returns it.
  func create(_ body: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> VMDocument {
    let reply = send("POST", "/v1/vms", body, sourceLocation: sourceLocation)
    try #require(reply.status == 201, "\(reply.text)", sourceLocation: sourceLocation)
    return try reply.document(VMDocument.self)
  }

  /// Waits until a VM is in a state: half a minute at most, and much less unless something is broken.
  func wait(for state: String, of id: String) throws -> VMDocument {
    let end = Date().addingTimeInterval(30)
    while true {
      let vm = try send("GET", "/v1/vms/\(id)").document(VMDocument.self)
      if vm.state == state || Date() > end { return vm }
      usleep(1000)
    }
  }

  /// Waits until every vCPU of a VM has left the guest for `reason`.
  func wait(forExits reason: String, of id: String) throws {
    let end = Date().addingTimeInterval(30)
    while Date() < end {
      let page = try send("GET", "/v1/vms/\(id)/vcpus").document(Page<VCPUDocument>.self)
      if page.items.allSatisfy({ ($0.exits[reason] ?? 0) > 0 }) { return }
      usleep(1000)
    }
    Issue.record("\(id) does not exit for \(reason)")
  }

  /// Waits until a pool has so many ready VMs.
  func wait(forReady count: Int, in pool: String) throws -> PoolDocument {
    let end = Date().addingTimeInterval(30)
    while true {
      let document = try send("GET", "/v1/pools/\(pool)").document(PoolDocument.self)
      if document.status.ready == count && document.status.creating == 0 || Date() > end { return document }
      usleep(1000)
    }
  }

  /// The series of `/metrics` (or `/metrics/vcpus`) by name and labels as written.
  func metrics(_ path: String = "/metrics") -> [String: Double] {
    let lines = send("GET", path).text.split(separator: "\n").filter { !$0.hasPrefix("#") }
    return lines.reduce(into: [:]) { series, line in
      guard let space = line.lastIndex(of: " ") else { return }
      series[String(line[..<space])] = Double(line[line.index(after: space)...])
    }
  }
}

/// An answer.
struct Reply {
  let status: Int
  let headers: [(name: String, value: String)]
  let body: [UInt8]

  init(_ response: HTTPResponse) {
    status = response.status
    headers = response.headers
    let range = response.fileRange
    body =
      response.file.flatMap { file in
        let part = range ?? 0..<file.size
        return try? ImagePart(FileBytes(file, identity: "")).bytes(at: part.lowerBound, count: part.count)
      } ?? response.body
  }

  var text: String { String(decoding: body, as: UTF8.self) }

  subscript(name: String) -> String? { headers.first { $0.name == name }?.value }

  func document<T: Decodable>(_ type: T.Type) throws -> T { try JSON.decode(type, from: body) }

  /// The problem's type, without its prefix, and its pointer.
  var problem: (kind: String, pointer: String?, detail: String)? {
    guard let problem = try? document(Problem.self) else { return nil }
    return (problem.type.replacingOccurrences(of: "/problems/", with: ""), problem.pointer, problem.detail)
  }

  /// What holds for every answer.
  func checkCommonRules(_ sourceLocation: SourceLocation) {
    #expect(self["X-Content-Type-Options"] == "nosniff", sourceLocation: sourceLocation)
    #expect(self["Cache-Control"] != nil, sourceLocation: sourceLocation)
    // A terminal's prompt is to stand below the answer.
    if self["Content-Type"]?.hasSuffix("json") == true, !body.isEmpty {
      #expect(body.last == 0x0A && body.dropLast().last != 0x0A, sourceLocation: sourceLocation)
    }
    guard status >= 400 else { return }
    #expect(self["Content-Type"] == "application/problem+json", sourceLocation: sourceLocation)
    let problem = try? document(Problem.self)
    #expect(problem?.status == status, sourceLocation: sourceLocation)
    #expect(problem?.requestID == "test-1", sourceLocation: sourceLocation)
    #expect(problem?.detail.last == ".", "a sentence: \(text)", sourceLocation: sourceLocation)
    #expect((self["Retry-After"] != nil) == [429, 503].contains(status), sourceLocation: sourceLocation)
    #expect((self["Allow"] != nil) == (status == 405), sourceLocation: sourceLocation)
  }
}

typealias RealKVM = TestSupport.RealKVM

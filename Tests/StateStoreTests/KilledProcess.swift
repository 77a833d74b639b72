import TestSupport

@testable import StateStore

/// One change, of those a killed process makes.
enum Operation {
  case grant(StoredLease)
  case extend(String, expiresAtMS: Int)
  case end(String, StoredLeaseEnd)
  case putPool(String, revision: Int)
  case deletePool(String)
  case begin(key: String)
  case finish(key: String, StoredResponse)
  case abandon(key: String)
  case checkpoint
}

/// What must be in the state after a number of operations; the oracle.
struct Expected: Equatable {
  enum Key: Equatable {
    case inProgress
    case answered(StoredResponse)
  }

  let round: Int
  var leases: [String: StoredLease] = [:]
  var pools: [String: Int] = [:]
  var keys: [String: Key] = [:]
  var fence: Int
  var revision = 0
  /// Operations done, and of those the ones that leave an audit entry.
  var done = 0
  var audited: [String] = []

  init(round: Int) {
    self.round = round
    fence = round * 100_000
  }

  /// The request id of the operation that comes next.
  var requestID: String { "r\(round)-\(done + 1)" }

  func next(_ generator: inout SeededGenerator) -> Operation {
    let open = leases.values.filter { $0.end == nil }.map(\.id).sorted().randomElement(using: &generator)
    let key = keys.filter { $0.value == .inProgress }.keys.sorted().randomElement(using: &generator)
    let number = Int.random(in: 0..<1000, using: &generator)
    switch (number % 10, open, key) {
    case (0...2, _, _), (3...4, nil, _):
      return .grant(Sample.lease(Sample.id(fence + 1), fence: fence + 1, grantedAtMS: number))
    case (3, let id?, _): return .extend(id, expiresAtMS: number)
    case (4, let id?, _): return .end(id, StoredLeaseEnd(reason: .released, atMS: number, detail: "\(number)"))
    case (5, _, _): return .putPool("r\(round)-p\(number / 10 % 4)", revision: revision + 1)
    case (6, _, _):
      guard let name = pools.keys.sorted().randomElement(using: &generator) else { return .checkpoint }
      return .deletePool(name)
    case (7, _, let key?):
      return .finish(
        key: key, StoredResponse(status: number, headers: [.init(name: "a", value: "\(number)")], body: [1, 2]))
    case (8, _, let key?): return .abandon(key: key)
    case (9, _, _) where number > 990: return .checkpoint
    default: return .begin(key: "r\(round)-k\(done)")
    }
  }

  mutating func apply(_ operation: Operation) {
    let id = requestID
    done += 1
    switch operation {
    case .grant(let lease):
      leases[lease.id] = lease
      fence = lease.fence
    case .extend(let id, let expiresAtMS): leases[id]?.expiresAtMS = expiresAtMS
    case .end(let id, let end): leases[id]?.end = end
    case .putPool(let name, let number):
      pools[name] = number
      revision = number
    case .deletePool(let name): pools[name] = nil
    case .begin(let key): keys[key] = .inProgress
    case .finish(let key, let response): keys[key] = .answered(response)
    case .abandon(let key): keys[key] = nil
    case .checkpoint: break
    }
    switch operation {
    case .begin, .finish, .abandon, .checkpoint: break
    default: audited.append(id)
    }
  }
}

extension StateDatabase {
  static let scope = "POST /v1/x"

  func perform(_ operation: Operation, requestID: String) throws(StateStoreError) {
    let audit = Sample.audit("test", "x", requestID: requestID)
    switch operation {
    case .grant(let lease): try recordLease(lease, by: "127.0.0.1", requestID: requestID)
    case .extend(let id, let expiresAtMS): try extendLease(id: id, expiresAtMS: expiresAtMS, audit: audit)
    case .end(let id, let end): try endLeases([(id, end, audit)])
    case .putPool(let name, let revision): try putPool(name: name, document: [1], revision: revision, audit: audit)
    case .deletePool(let name): try deletePool(name: name, audit: audit)
    case .begin(let key): _ = try beginIdempotent(scope: Self.scope, key: key, fingerprint: [1], nowMS: 0)
    case .finish(let key, let response): try finishIdempotent(scope: Self.scope, key: key, response)
    case .abandon(let key): try abandonIdempotent(scope: Self.scope, key: key)
    case .checkpoint: flush(logLimit: requestID.hasSuffix("0") ? .max : 0)
    }
  }
}

import Access
import HTTPServer
import LinuxSupport
import StateStore
import Synchronization

/// Has refused attempts recorded in the audit log, within a budget: a client that is refused again and again must not fill it,
/// which would push out what others have done.
///
/// Windows of a minute: each source has some entries in one, and all sources together have more. A window's other attempts are
/// counted, and are one entry at its end. A count is lost when the server ends before.
final class RefusedAttempts: Sendable {
  /// What the audit log calls a refused attempt.
  static let action = "refused"
  static let windowNS: UInt64 = 60_000_000_000
  static let entriesOfSource = 8
  static let entriesOfAll = 64

  private struct Window {
    var isOpen = false
    /// By source; at most `entriesOfAll` of them.
    var entries: [String: Int] = [:]
    /// Attempts that have no entry of their own.
    var others = 0
    /// Who made all of those; nil where they were several.
    var otherSource: String?

    /// Whether an attempt of that source has an entry of its own.
    mutating func take(_ source: String) -> Bool {
      let count = entries[source, default: 0]
      guard count < RefusedAttempts.entriesOfSource,
        entries.values.reduce(0, +) < RefusedAttempts.entriesOfAll
      else {
        add(source)
        return false
      }
      entries[source] = count + 1
      return true
    }

    mutating func add(_ source: String?, count: Int = 1) {
      otherSource = others == 0 || otherSource == source ? source : nil
      others += count
    }
  }

  private let state: StateDatabase
  private let worker: WorkerPool
  private let timer = DeadlineTimer()
  // The window that is open. A leaf.
  private let window = Mutex(Window())

  /// Writes to `state` on `worker`: a thread of HTTP or of a vCPU may refuse, and the latter may not write files.
  init(_ state: StateDatabase, on worker: WorkerPool) {
    self.state = state
    self.worker = worker
  }

  /// Records an attempt, or counts it. Never waits.
  func note(_ attempt: AuditEntry) {
    let (isFirst, isWithin) = window.withLock { window in
      let isFirst = !window.isOpen
      window.isOpen = true
      return (isFirst, window.take(attempt.who))
    }
    if isFirst { timer.arm(afterNS: Self.windowNS) { [weak self] in self?.endWindow() } }
    if isWithin { write(attempt, count: 1, by: attempt.who) }
  }

  /// Ends the window, and records how many attempts had no entry of their own.
  func endWindow() {
    let ended = window.withLock { window in
      defer { window = Window() }
      return window
    }
    guard ended.others > 0 else { return }
    write(
      AuditEntry(
        who: ended.otherSource ?? "several clients", action: Self.action, subject: "further attempts",
        atMS: StateDatabase.wallClockMS(), detail: "{\"attempts\":\(ended.others)}"),
      count: ended.others, by: ended.otherSource)
  }

  /// Where the worker has no time the attempts are counted. Where the state cannot be written it says so itself.
  private func write(_ entry: AuditEntry, count: Int, by source: String?) {
    do throws(WorkerPool.Refusal) {
      try worker.submit { [state] in try? state.append(entry) }
    } catch {
      window.withLock { $0.add(source, count: count) }
    }
  }
}

extension APIHandler {
  /// Notes a refusal for want of a key or of a scope; other problems are none. What the client presented is not kept: neither its
  /// key nor any header field.
  func note(_ problem: APIProblem, of head: HTTPRequestHead, for route: Route, by principal: Principal?) {
    guard [.unauthenticated, .scopeMissing].contains(problem.kind) else { return }
    refusedAttempts.note(
      AuditEntry(
        who: principal?.id ?? head.peer, tenant: (principal?.tenant ?? .standard).name, action: RefusedAttempts.action,
        subject: "\(route.method.rawValue) \(route.template)", requestID: head.requestID,
        atMS: StateDatabase.wallClockMS(), detail: "{\"problem\":\"\(problem.kind.rawValue)\"}"))
  }
}

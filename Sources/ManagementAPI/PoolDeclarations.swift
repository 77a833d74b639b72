import APIModel
import GuestImages
import JSONCodec
import PoolManager
import Synchronization

/// Who declared a pool. Neither overwrites what the other has declared.
public enum PoolSource: String, Sendable {
  /// A client.
  case api
  /// The configuration file.
  case file
}

/// Where declarations made over the API are kept, so that they outlive the process. Called on any thread.
public protocol PoolJournal: Sendable {
  /// A pool is declared; `document` is JSON.
  func declared(_ name: String, document: [UInt8], revision: UInt64, by origin: Origin) throws(JournalFailure)
  /// A pool is deleted.
  func deleted(_ name: String, by origin: Origin) throws(JournalFailure)
}

/// The pools as they were declared: the documents, their revisions and where they come from. The fleet has what
/// follows from them.
public final class PoolDeclarations: Sendable {
  struct Entry: Sendable {
    var document: DeclarePoolDocument
    var source: PoolSource
    var revision: UInt64

    /// The value of `ETag`.
    var tag: String { "\"\(revision)\"" }
  }

  private let fleet: Fleet
  private let images: ImageCatalogue
  private let journal: (any PoolJournal)?
  /// Guards the declarations. The locks of the fleet, the images and the journal are taken under it, so that all agree.
  private let guarded: Mutex<(entries: [String: Entry], nextRevision: UInt64)>

  /// No declarations; the first will have `firstRevision`. What they are made of is found in `images`.
  public init(fleet: Fleet, images: ImageCatalogue, journal: (any PoolJournal)?, firstRevision: UInt64 = 1) {
    self.fleet = fleet
    self.images = images
    self.journal = journal
    guarded = Mutex(([:], firstRevision))
  }

  /// The declaration of a pool; nil where there is none (any more).
  func entry(_ name: String) -> Entry? { guarded.withLock { $0.entries[name] } }

  /// Declares a pool over the API; `change` makes the new declaration out of the old one.
  func put(
    _ name: String, _ condition: Condition, by origin: Origin,
    _ change: (DeclarePoolDocument?) throws(APIProblem) -> DeclarePoolDocument
  ) throws(APIProblem) -> (pool: PoolStatus, entry: Entry, isNew: Bool) {
    try guarded.withLock { state throws(APIProblem) in
      let old = state.entries[name]
      if old?.source == .file { throw .declaredInFile(name) }
      let document = try change(old?.document)
      let specification = try PoolSpecification(document, images.image(document.image))
      // Last: what would be refused without a condition is refused for what it is (RFC 9110, 13.2.1).
      try condition.check(old?.tag, "The pool \(name)")
      let entry = Entry(document: document, source: .api, revision: state.nextRevision)
      // What the fleet refuses must not be on record, and what cannot be recorded must not be in force.
      try translating { () throws(FleetError) in try fleet.checkDeclaration(name) }
      try record(name, entry, origin)
      state.nextRevision += 1
      let (pool, isNew) = try declare(name, specification, insteadOf: old, origin)
      state.entries[name] = entry
      return (pool, entry, isNew)
    }
  }

  /// Declares a pool whose declaration is on record. The fleet refuses it only if it has begun to drain since it was
  /// asked: the record is then what it was before.
  private func declare(
    _ name: String, _ specification: PoolSpecification, insteadOf old: Entry?, _ origin: Origin
  ) throws(APIProblem) -> (pool: PoolStatus, isNew: Bool) {
    do throws(FleetError) {
      return try fleet.declare(name, specification)
    } catch {
      if var old {
        old.revision += 1
        try record(name, old, origin)
      } else {
        do throws(JournalFailure) { try journal?.deleted(name, by: origin) } catch { throw APIProblem(error) }
      }
      throw APIProblem(error)
    }
  }

  private func record(_ name: String, _ entry: Entry, _ origin: Origin) throws(APIProblem) {
    let bytes: [UInt8]
    do throws(JSONEncodingError) {
      bytes = try JSON.encode(entry.document)
    } catch {
      throw APIProblem(.internalError, "\(error)".asSentence)
    }
    do throws(JournalFailure) {
      try journal?.declared(name, document: bytes, revision: entry.revision, by: origin)
    } catch {
      throw APIProblem(error)
    }
  }

  /// Deletes a pool that was declared over the API, or by the server itself. Returns whether leases are waited for.
  /// `whenOver` is called once: when nothing is left of the pool, when only quarantined VMs are, or at `deadlineNS`
  /// (CLOCK_MONOTONIC). The deletion goes on in any case.
  func delete(
    _ name: String, _ condition: Condition, force: Bool, by origin: Origin, untilNS deadlineNS: UInt64,
    whenOver: @escaping @Sendable (PoolDeletion) -> Void
  ) throws(APIProblem) -> Bool {
    try guarded.withLock { state throws(APIProblem) in
      let old = state.entries[name]
      if old?.source == .file { throw .declaredInFile(name) }
      // Without a declaration it may still be there, and wait for its last lease to end.
      if old == nil { _ = try translating { () throws(FleetError) in try fleet.pool(name) } }
      try condition.check(old?.tag, "The pool \(name)")
      if old != nil {
        do throws(JournalFailure) {
          try journal?.deleted(name, by: origin)
        } catch {
          throw APIProblem(error)
        }
      }
      let waits = try translating { () throws(FleetError) in
        try fleet.deletePool(name, force: force, untilNS: deadlineNS, whenOver: whenOver)
      }
      state.entries[name] = nil
      return waits
    }
  }

  // MARK: Images

  /// Changes an image by `commit`; pools that use it are then declared anew with what it has become, `image`. Refused
  /// where one of them cannot run that.
  func replace<Value: Sendable>(
    _ name: String, with image: GuestImage, _ commit: () throws(APIProblem) -> Value
  ) throws(APIProblem) -> Value {
    try guarded.withLock { state throws(APIProblem) in
      var changes: [(pool: String, specification: PoolSpecification)] = []
      for (pool, entry) in state.entries where entry.document.image == name {
        do throws(APIProblem) {
          changes.append((pool, try PoolSpecification(entry.document, image)))
        } catch {
          throw APIProblem(.imageInUse, "The pool \(pool) cannot run it: \(error.detail)")
        }
      }
      let value = try commit()
      // One that is being deleted, or drains with the server, has no use for it.
      for change in changes { _ = try? fleet.declare(change.pool, change.specification) }
      return value
    }
  }

  /// Deletes an image by `commit`, unless a pool uses it.
  func withoutUsers(ofImage name: String, _ commit: () throws(APIProblem) -> Void) throws(APIProblem) {
    try guarded.withLock { state throws(APIProblem) in
      let users = state.entries.filter { $0.value.document.image == name }.keys.sorted()
      guard users.isEmpty else {
        throw APIProblem(
          .imageInUse, "The image \(name) is used by \(users.joined(separator: ", ")); delete those pools first.")
      }
      try commit()
    }
  }

  // MARK: Other sources

  /// Brings back what was declared over the API before the server started.
  public func recover(_ name: String, document: [UInt8], revision: UInt64) throws(DeclarationError) {
    let declaration: DeclarePoolDocument
    do throws(JSONDecodingError) {
      declaration = try JSON.decode(DeclarePoolDocument.self, from: document)
    } catch {
      throw DeclarationError(pool: name, detail: "\(error)")
    }
    try enter(name, declaration, .api, revision: revision)
  }

  /// Declares the pool `demo`, two VMs that print a greeting, as a client would: it is there until a client deletes it.
  public func declareDemonstration() throws(DeclarationError) {
    do throws(APIProblem) {
      _ = try put("demo", Condition(), by: .server) { _ in DeclarePoolDocument(image: "hello", ready: ReadyRange(2)) }
    } catch {
      throw DeclarationError(pool: "demo", detail: error.detail)
    }
  }

  /// Makes the pools of the configuration file be what the file says. A pool that was declared over the API keeps its
  /// declaration, and is among the errors. A pool that the file no longer has is deleted once its leases have ended.
  public func load(file pools: [(name: String, document: DeclarePoolDocument)]) -> [DeclarationError] {
    var errors: [DeclarationError] = []
    let names = Set(pools.map(\.name))
    let dropped = guarded.withLock { state in
      state.entries.filter { $0.value.source == .file && !names.contains($0.key) }.map(\.key)
    }
    for name in dropped {
      guarded.withLock { $0.entries[name] = nil }
      // Gone already, if it cannot be found.
      _ = try? fleet.deletePool(name, force: false)
    }
    for (name, document) in pools {
      do throws(DeclarationError) {
        try enter(name, document, .file, revision: nil)
      } catch {
        errors.append(error)
      }
    }
    return errors
  }

  private func enter(
    _ name: String, _ document: DeclarePoolDocument, _ source: PoolSource, revision: UInt64?
  ) throws(DeclarationError) {
    do throws(APIProblem) {
      try guarded.withLock { state throws(APIProblem) in
        let specification = try PoolSpecification(document, images.image(document.image))
        if let old = state.entries[name] {
          guard old.source == source else {
            throw APIProblem(.declaredInFile, "it was declared over the API, which holds; delete one of the two")
          }
          if old.document == document { return }
        }
        try translating { () throws(FleetError) in _ = try fleet.declare(name, specification) }
        let number = revision ?? state.nextRevision
        state.nextRevision = max(state.nextRevision, number + 1)
        state.entries[name] = Entry(document: document, source: source, revision: number)
      }
    } catch {
      throw DeclarationError(pool: name, detail: error.detail)
    }
  }
}

/// Why a pool that was declared elsewhere than over the API is not there.
public struct DeclarationError: Error, Sendable, CustomStringConvertible {
  /// Its name.
  public let pool: String
  /// A sentence.
  public let detail: String

  /// What happened, and what to do next.
  public var description: String { "pool \(pool): \(detail)" }
}

extension APIProblem {
  fileprivate static func declaredInFile(_ name: String) -> APIProblem {
    APIProblem(
      .declaredInFile,
      "The pool \(name) is declared in the server's configuration file; change it there and send the server SIGHUP.")
  }

  init(_ failure: JournalFailure) { self.init(.storageFailed, "\(failure)".asSentence) }
}

import APIModel
import Access
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

/// The pools as they were declared: the documents, their revisions and where they come from. The fleet has what
/// follows from them.
public final class PoolDeclarations: Sendable {
  /// A pool's declaration.
  public struct Entry: Sendable {
    /// What the pool is to be.
    public internal(set) var document: DeclarePoolDocument
    /// Who declared it.
    public internal(set) var source: PoolSource
    /// Grows with each change of any declaration.
    public internal(set) var revision: UInt64

    /// The value of `ETag`.
    public var tag: String { "\"\(revision)\"" }
  }

  let fleet: Fleet
  let images: ImageCatalogue
  private let journal: (any PoolJournal)?
  /// Held by a change of declarations or of images, from its look at them until it is recorded and in force, so that all
  /// agree. Recording waits for a disk: what only reads never takes this lock. The locks of the fleet, the images, the
  /// journal and `entries` are taken under it. Guards the revision that the next change gets.
  let changes: Mutex<UInt64>
  /// Guards the declarations, for as long as a look at them takes; a leaf. They change under `changes` alone.
  private let entries = Mutex<[String: Entry]>([:])

  /// No declarations; the first will have `firstRevision`. What they are made of is found in `images`.
  public init(fleet: Fleet, images: ImageCatalogue, journal: (any PoolJournal)?, firstRevision: UInt64 = 1) {
    self.fleet = fleet
    self.images = images
    self.journal = journal
    changes = Mutex(firstRevision)
  }

  /// The declaration of a pool; nil where there is none (any more).
  public func entry(_ name: String) -> Entry? { entries.withLock { $0[name] } }

  /// The pools whose VMs are made of an image, sorted by name.
  func users(ofImage name: String) -> [(pool: String, document: DeclarePoolDocument)] {
    entries.withLock { entries in
      entries.filter { Tenant.split($0.key).tenant.qualified($0.value.document.image) == name }
        .map { ($0.key, $0.value.document) }
    }.sorted { $0.pool < $1.pool }
  }

  /// Declares a pool over the API, in the place of the declaration that it has.
  public func put(
    _ document: DeclarePoolDocument, as name: String, if holds: Precondition, by origin: Origin
  ) throws(DeclarationRefusal) -> (pool: PoolStatus, entry: Entry, isNew: Bool) {
    try change(name, if: holds, by: origin) { _ in document }
  }

  /// Changes members of a pool's declaration over the API.
  public func patch(
    _ name: String, with patch: PoolPatch, if holds: Precondition, by origin: Origin
  ) throws(DeclarationRefusal) -> (pool: PoolStatus, entry: Entry) {
    let (pool, entry, _) = try change(name, if: holds, by: origin) { old throws(DeclarationRefusal) in
      guard let old else { throw .fleet(.noSuchPool(name)) }
      do throws(PoolPatch.MissingMember) {
        return try patch.applied(to: old).get()
      } catch {
        let member = error.pointer.dropFirst()
        throw .specification(
          .mistake(.at(error.pointer, "\(member) cannot be left out; give another value.")))
      }
    }
    return (pool, entry)
  }

  /// Declares a pool over the API; `document` makes the new declaration out of the old one.
  private func change(
    _ name: String, if holds: Precondition, by origin: Origin,
    _ document: (DeclarePoolDocument?) throws(DeclarationRefusal) -> DeclarePoolDocument
  ) throws(DeclarationRefusal) -> (pool: PoolStatus, entry: Entry, isNew: Bool) {
    try changes.withLock { nextRevision throws(DeclarationRefusal) in
      let old = entry(name)
      if old?.source == .file { throw .declaredInFile(name) }
      let document = try document(old?.document)
      let specification = try specification(document, of: Tenant.split(name).tenant)
      try checkSize(specification)
      // Last: what would be refused without a condition is refused for what it is (RFC 9110, 13.2.1).
      try Self.check(holds, old?.tag)
      let entry = Entry(document: document, source: .api, revision: nextRevision)
      // What the fleet refuses must not be on record, and what cannot be recorded must not be in force.
      do throws(FleetError) { try fleet.checkDeclaration(name) } catch { throw .fleet(error) }
      try record(name, entry, origin)
      nextRevision += 1
      let (pool, isNew) = try declare(name, specification, insteadOf: old, origin)
      entries.withLock { $0[name] = entry }
      return (pool, entry, isNew)
    }
  }

  /// Declares a pool whose declaration is on record. The fleet refuses it only if it has begun to drain since it was
  /// asked: the record is then what it was before.
  private func declare(
    _ name: String, _ specification: PoolSpecification, insteadOf old: Entry?, _ origin: Origin
  ) throws(DeclarationRefusal) -> (pool: PoolStatus, isNew: Bool) {
    do throws(FleetError) {
      return try fleet.declare(name, specification)
    } catch {
      if var old {
        old.revision += 1
        try record(name, old, origin)
      } else {
        try recordDeletion(of: name, origin)
      }
      throw .fleet(error)
    }
  }

  private func record(_ name: String, _ entry: Entry, _ origin: Origin) throws(DeclarationRefusal) {
    let bytes: [UInt8]
    do throws(JSONEncodingError) {
      bytes = try JSON.encode(entry.document)
    } catch {
      throw .unencodable(error)
    }
    do throws(JournalFailure) {
      try journal?.declared(name, document: bytes, revision: entry.revision, by: origin)
    } catch {
      throw .journal(error)
    }
  }

  private func recordDeletion(of name: String, _ origin: Origin) throws(DeclarationRefusal) {
    do throws(JournalFailure) { try journal?.deleted(name, by: origin) } catch { throw .journal(error) }
  }

  private func specification(
    _ document: DeclarePoolDocument, of tenant: Tenant
  ) throws(DeclarationRefusal) -> PoolSpecification {
    if document.shared == true, tenant != .standard {
      throw .specification(
        .mistake(.at("/shared", "Only pools of the default tenant can be shared; leave shared out.")))
    }
    do throws(SpecificationError) {
      return try PoolSpecification(document, images.image(document.image, of: tenant))
    } catch {
      throw .specification(error)
    }
  }

  /// Refuses a pool whose VMs the host has no room for. A pool from before the start stays: it waits for a larger host.
  private func checkSize(_ specification: PoolSpecification) throws(DeclarationRefusal) {
    if let refusal = fleet.limit(exceededBy: specification.vm) { throw .specification(.tooLarge(refusal)) }
  }

  private static func check(_ holds: Precondition, _ tag: String?) throws(DeclarationRefusal) {
    do throws(PreconditionFailure) { try holds(tag) } catch { throw .precondition(error) }
  }

  /// Deletes a pool that was declared over the API, or by the server itself. Returns whether leases are waited for.
  /// `whenOver` is called once: when nothing is left of the pool, when only quarantined VMs are, or at `deadlineNS`
  /// (CLOCK_MONOTONIC). The deletion goes on in any case.
  public func delete(
    _ name: String, if holds: Precondition, force: Bool, by origin: Origin, untilNS deadlineNS: UInt64,
    whenOver: @escaping @Sendable (PoolDeletion) -> Void
  ) throws(DeclarationRefusal) -> Bool {
    try changes.withLock { nextRevision throws(DeclarationRefusal) in
      let old = entry(name)
      if old?.source == .file { throw .declaredInFile(name) }
      do throws(FleetError) {
        // Without a declaration it may still be there, and wait for its last lease to end.
        if old == nil { _ = try fleet.pool(name) }
      } catch {
        throw .fleet(error)
      }
      try Self.check(holds, old?.tag)
      if old != nil { try recordDeletion(of: name, origin) }
      let waits: Bool
      do throws(FleetError) {
        waits = try fleet.deletePool(name, force: force, untilNS: deadlineNS, whenOver: whenOver)
      } catch {
        throw .fleet(error)
      }
      entries.withLock { $0[name] = nil }
      return waits
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
    do throws(DeclarationRefusal) {
      _ = try put(DeclarePoolDocument(image: "hello", ready: ReadyRange(2)), as: "demo", if: { _ in }, by: .server)
    } catch {
      throw DeclarationError(pool: "demo", detail: "\(error)")
    }
  }

  /// Makes the pools of the configuration file be what the file says. A pool that was declared over the API keeps its
  /// declaration, and is among the errors. A pool that the file no longer has is deleted once its leases have ended.
  public func load(file pools: [(name: String, document: DeclarePoolDocument)]) -> [DeclarationError] {
    var errors: [DeclarationError] = []
    let names = Set(pools.map(\.name))
    changes.withLock { _ in
      let dropped = entries.withLock { entries in
        entries.filter { $0.value.source == .file && !names.contains($0.key) }.map(\.key)
      }
      for name in dropped {
        entries.withLock { $0[name] = nil }
        // Gone already, if it cannot be found.
        _ = try? fleet.deletePool(name, force: false)
      }
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
    do throws(DeclarationRefusal) {
      try changes.withLock { nextRevision throws(DeclarationRefusal) in
        let specification = try specification(document, of: Tenant.split(name).tenant)
        if let old = entry(name) {
          guard old.source == source else { throw .declaredOverAPI(name) }
          if old.document == document { return }
        }
        if source == .file { try checkSize(specification) }
        do throws(FleetError) { _ = try fleet.declare(name, specification) } catch { throw .fleet(error) }
        let number = revision ?? nextRevision
        nextRevision = max(nextRevision, number + 1)
        entries.withLock { $0[name] = Entry(document: document, source: source, revision: number) }
      }
    } catch {
      throw DeclarationError(pool: name, detail: "\(error)")
    }
  }
}

import APIModel
import BlobStore
import Digests
import GuestImages
import MachineRuntime
import PoolManager
import StateStore
import Synchronization
import Testing

@testable import Control

/// What only reads never waits for a change that is being recorded.
@Suite struct ReadersTests {
  /// Calls `look` while it records. A lock that is held then cannot be taken again: the process ends.
  private final class LookingJournal: PoolJournal, ImageJournal {
    private let look = Mutex<@Sendable () -> Void>({})
    private let count = Atomic(0)
    let fails = Atomic(false)
    /// The declarations as they are on record, the oldest first; nil for one that was deleted.
    let declarations = Mutex<[[UInt8]?]>([])

    var records: Int { count.load(ordering: .relaxed) }

    func looking(_ body: @escaping @Sendable () -> Void) { look.withLock { $0 = body } }

    private func recorded() {
      count.add(1, ordering: .relaxed)
      look.withLock { $0 }()
    }

    func declared(_ name: String, document: [UInt8], revision: UInt64, by origin: Origin) throws(JournalFailure) {
      if fails.load(ordering: .relaxed) { throw JournalFailure("the disk is full") }
      declarations.withLock { $0.append(document) }
      recorded()
    }
    func deleted(_ name: String, by origin: Origin) {
      declarations.withLock { $0.append(nil) }
      recorded()
    }
    func stored(_ image: StoredImage, by origin: Origin) { recorded() }
    func deletedImage(_ name: String, by origin: Origin) { recorded() }
    func noted(blob digest: String, sizeBytes: Int?, by origin: Origin) { recorded() }
  }

  private struct NoMachines: MachineFactory {
    func make(
      _ configuration: MachineConfiguration, changed: @escaping @Sendable (MachineState) -> Void
    ) throws(MachineCreationError) -> any ManagedMachine {
      throw .interrupt(.noMemory)
    }
  }

  private let journal = LookingJournal()
  private let images: ImageCatalogue
  private let pools: PoolDeclarations

  init() throws {
    images = ImageCatalogue(blobs: try BlobRepository(directory: nil), journal: journal)
    pools = PoolDeclarations(
      fleet: Fleet(factory: NoMachines(), mechanism: .immediateExit), images: images, journal: journal)
  }

  private func store(_ bytes: [UInt8], as name: String) throws {
    let upload = try images.blobs.begin(nil, announced: bytes.count)
    try unsafe upload.write(bytes.span.bytes)
    let digest = try pools.finish(upload, by: .server).digest
    let manifest = ImageManifest(kind: .flat, kernel: digest, flat: FlatPlacement(mode: .real16))
    _ = try pools.storeImage(manifest, as: name, if: { _ in }, by: .server)
  }

  @Test func seeADeclarationAsItWasUntilItIsRecorded() throws {
    let revisions = Mutex<[UInt64?]>([])
    journal.looking { [pools] in revisions.withLock { $0.append(pools.entry("p")?.revision) } }
    let document = DeclarePoolDocument(image: "spin", ready: ReadyRange(0))
    _ = try pools.put(document, as: "p", if: { _ in }, by: .server)
    _ = try pools.put(document, as: "p", if: { _ in }, by: .server)
    _ = try pools.delete("p", if: { _ in }, force: false, by: .server, untilNS: 0) { _ in }
    #expect(revisions.withLock { $0 } == [nil, 1, 2])
    #expect(pools.entry("p") == nil)
  }

  @Test func seeAnImageAsItWasUntilItIsRecorded() throws {
    let counts = Mutex<[Int]>([])
    journal.looking { [images] in
      counts.withLock { $0.append(images.entries.count) }
      _ = images.entry("tool")
      _ = try? images.image("tool")
      for entry in images.entries { _ = images.users(of: Array(entry.digests)) }
    }
    // Each is the record of a blob, and that of an image.
    try store([0xF4], as: "tool")
    try store([0xF4, 0xF4], as: "tool")
    try pools.deleteImage("tool", if: { _ in }, by: .server)
    // The images that are replaced and deleted take their blobs with them.
    #expect(counts.withLock { $0 } == [0, 0, 1, 1, 1, 1, 0])
    #expect(journal.records == 7 && images.entries.isEmpty)
  }

  /// The fleet begins to drain while a declaration is recorded, and refuses it. The record is then what it was before.
  @Test(arguments: [true, false]) func aDeclarationThatTheFleetRefusesIsTakenBack(isNew: Bool) throws {
    let old = DeclarePoolDocument(image: "spin", ready: ReadyRange(0))
    if !isNew { _ = try pools.put(old, as: "p", if: { _ in }, by: .server) }
    journal.looking { [pools] in pools.fleet.beginDraining() }
    #expect {
      try pools.put(DeclarePoolDocument(image: "halt", ready: ReadyRange(0)), as: "p", if: { _ in }, by: .server)
    } throws: {
      if case .fleet(.draining) = $0 as? DeclarationRefusal { true } else { false }
    }
    let declarations = journal.declarations.withLock { $0 }
    #expect(declarations.count == (isNew ? 2 : 3))
    #expect(declarations.last == (isNew ? .some(nil) : declarations.first))
    #expect(pools.entry("p")?.document == (isNew ? nil : old))
  }

  /// What could not be recorded is neither declared nor in force.
  @Test func aDeclarationThatCannotBeRecordedIsNotInForce() throws {
    journal.fails.store(true, ordering: .relaxed)
    let document = DeclarePoolDocument(image: "spin", ready: ReadyRange(0))
    #expect(throws: DeclarationRefusal.self) { try pools.put(document, as: "p", if: { _ in }, by: .server) }
    #expect(pools.entry("p") == nil && pools.fleet.pools(after: nil, limit: 1).pools.isEmpty)
  }

  @Test func aPreconditionIsTheLastToRefuse() throws {
    let document = DeclarePoolDocument(image: "none", ready: ReadyRange(0))
    let refuses: Precondition = { _ throws(PreconditionFailure) in throw PreconditionFailure("No.") }
    #expect {
      try pools.put(document, as: "p", if: refuses, by: .server)
    } throws: {
      if case .specification(.noSuchImage("none")) = $0 as? DeclarationRefusal { true } else { false }
    }
    #expect {
      try pools.put(DeclarePoolDocument(image: "spin", ready: ReadyRange(0)), as: "p", if: refuses, by: .server)
    } throws: {
      if case .precondition(PreconditionFailure("No.")) = $0 as? DeclarationRefusal { true } else { false }
    }
    #expect(journal.records == 0)
  }
}

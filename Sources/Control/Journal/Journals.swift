import PoolManager
import StateStore

/// Where declarations made over the API are kept, so that they outlive the process. Called on any thread.
public protocol PoolJournal: Sendable {
  /// A pool is declared; `document` is JSON.
  func declared(_ name: String, document: [UInt8], revision: UInt64, by origin: Origin) throws(JournalFailure)
  /// A pool is deleted.
  func deleted(_ name: String, by origin: Origin) throws(JournalFailure)
}

/// Where images that were stored over the API are kept, so that they outlive the process. Called on any thread.
public protocol ImageJournal: Sendable {
  /// An image is stored, in the place of what had its name.
  func stored(_ image: StoredImage, by origin: Origin) throws(JournalFailure)
  /// An image is deleted.
  func deletedImage(_ name: String, by origin: Origin) throws(JournalFailure)
  /// A blob has come or is deleted.
  func noted(blob digest: String, sizeBytes: Int?, by origin: Origin) throws(JournalFailure)
}

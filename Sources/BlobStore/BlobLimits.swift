/// How much a store takes.
public struct BlobLimits: Sendable {
  /// Bytes of one blob, no more than of all together: no deletion makes room for a larger one.
  public var blobBytes: Int
  /// Bytes of all blobs together, uploads that are not complete among them.
  public var totalBytes: Int
  /// Interrupted uploads that are kept to be continued, the latest.
  public var partials: Int
  /// For how long they are kept, in milliseconds.
  public var partialAgeMS: Int

  /// What the server uses, but for what is given.
  public init(
    blobBytes: Int = 1 << 30, totalBytes: Int = 16 << 30, partials: Int = 16, partialAgeMS: Int = 86_400_000
  ) {
    self.blobBytes = min(blobBytes, totalBytes)
    self.totalBytes = totalBytes
    self.partials = partials
    self.partialAgeMS = partialAgeMS
  }
}

/// What clients are shown of an image.
public struct ImageDescription: Sendable, Equatable {
  /// A part of it that is loaded.
  public struct Segment: Sendable, Equatable {
    /// The guest-physical address of its first byte.
    public let address: UInt64
    /// Bytes that come out of the image.
    public let fileBytes: UInt64
    /// Bytes of memory, those that are zero at first included.
    public let memoryBytes: UInt64
    /// What the guest may do with it: `r`, `w` and `x` in this order, as far as they apply.
    public let access: String
  }

  /// What it is.
  public let kind: GuestKind
  /// Bytes of all its parts.
  public let sizeBytes: UInt64
  /// The most vCPUs it runs on.
  public let maxVCPUs: Int
  /// The privilege level at which it starts.
  public let ring: Int
  /// The guest-physical address at which it starts; nil where that is decided when it is laid out.
  public let entry: UInt64?
  /// What is loaded.
  public let segments: [Segment]
  /// More, each by a name, such as `version` and `6.1.0`.
  public let notes: [String: String]
}

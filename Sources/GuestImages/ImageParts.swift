/// What an image is made of: parts, and what is said of them. Nothing is checked yet.
public struct ImageParts: Sendable, Equatable {
  /// The kernel, or whatever the image consists of in the first place.
  public var main: ImagePart
  /// A Linux guest's initramfs, or a Multiboot guest's first module.
  public var initramfs: ImagePart?
  /// The contents of block devices by the names that the guest knows them by.
  public var blocks: [String: ImagePart]
  /// What the guest is told, where its kind has such a thing.
  public var commandLine: String?
  /// How machine code starts, which it cannot say itself.
  public var flat: FlatPlacement?

  /// An image of `main`, and what belongs to it.
  public init(
    main: ImagePart, initramfs: ImagePart? = nil, blocks: [String: ImagePart] = [:], commandLine: String? = nil,
    flat: FlatPlacement? = nil
  ) {
    self.main = main
    self.initramfs = initramfs
    self.blocks = blocks
    self.commandLine = commandLine
    self.flat = flat
  }
}

/// What raw machine code cannot say of itself.
public struct FlatPlacement: Sendable, Equatable {
  /// The mode it starts in.
  public var mode: FlatMode
  /// The guest-physical address of its first byte.
  public var loadAddress: UInt64
  /// The guest-physical address it starts at.
  public var entry: UInt64

  /// `entry` is the load address when nil.
  public init(mode: FlatMode, loadAddress: UInt64 = 0x10000, entry: UInt64? = nil) {
    self.mode = mode
    self.loadAddress = loadAddress
    self.entry = entry ?? loadAddress
  }
}

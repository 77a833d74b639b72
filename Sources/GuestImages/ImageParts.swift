/// The parts of an image, and what its manifest says of them. Nothing is checked yet.
public struct ImageParts: Sendable, Equatable {
  /// The kernel, or all there is.
  public var main: ImagePart
  /// A Linux guest's initramfs; for Multiboot and PVH guests a first module without a text.
  public var initramfs: ImagePart?
  /// Modules of Multiboot and PVH guests, after `initramfs`.
  public var modules: [ImageModule]
  /// The contents of block devices by the names that the guest knows them by.
  public var blocks: [String: ImagePart]
  /// The guest's command line, where its kind has one.
  public var commandLine: String?
  /// How machine code starts, which its bytes do not say.
  public var flat: FlatPlacement?

  /// An image of `main` and the parts that belong to it.
  public init(
    main: ImagePart, initramfs: ImagePart? = nil, modules: [ImageModule] = [], blocks: [String: ImagePart] = [:],
    commandLine: String? = nil, flat: FlatPlacement? = nil
  ) {
    self.main = main
    self.initramfs = initramfs
    self.modules = modules
    self.blocks = blocks
    self.commandLine = commandLine
    self.flat = flat
  }

  /// The modules that a boot loader puts into memory.
  var allModules: [ImageModule] { (initramfs.map { [ImageModule($0)] } ?? []) + modules }

  /// Bytes of all parts.
  var sizeBytes: UInt64 {
    (allModules.map(\.part) + blocks.values).reduce(main.count) { $0.addingReportingOverflow($1.count).partialValue }
  }
}

/// How raw machine code starts, which its bytes do not say.
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

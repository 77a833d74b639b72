import APIModel
import Digests
import GuestImages
import JSONCodec

/// What an image is made of, checked member by member.
public struct ImageManifest: Sendable, Equatable {
  /// What it is said to be; nil: recognised by its bytes.
  public var kind: GuestKind?
  /// The blob that holds the kernel, or all there is.
  public var kernel: SHA256Digest
  /// The blob that holds the initial RAM file system.
  public var initramfs: SHA256Digest?
  /// More modules, in their order.
  public var modules: [Module] = []
  /// The blobs that hold the contents of disks, by the disks' names.
  public var blocks: [String: SHA256Digest] = [:]
  /// What the kernel gets where a VM is given none.
  public var commandLine: String?
  /// Where raw machine code goes, and how it starts.
  public var flat: FlatPlacement?

  /// A module of a Multiboot or PVH guest, with the text that the guest finds with it.
  public struct Module: Sendable, Equatable {
    /// The blob that holds it.
    public var blob: SHA256Digest
    /// The text.
    public var string: String?
  }

  /// The most block devices and modules, and the most bytes of a device's name, of a command line, and of all modules'
  /// texts together.
  private static let limits = (blocks: 16, name: 64, commandLine: 64 << 10, modules: 64, texts: 64 << 10)

  /// An image of one part.
  public init(kind: GuestKind?, kernel: SHA256Digest, flat: FlatPlacement?) {
    self.kind = kind
    self.kernel = kernel
    self.flat = flat
  }

  /// What a manifest says.
  public init(_ document: ImageManifestDocument) throws(DocumentMistake) {
    kind = try document.kind.map { kind throws(DocumentMistake) in try Self.kind(kind, at: "/kind") }
    kernel = try Self.digest(document.kernel, at: "/kernel")
    initramfs = try document.initramfs.map { text throws(DocumentMistake) in try Self.digest(text, at: "/initramfs") }
    flat = try Self.placement(mode: document.mode, loadAddress: document.loadAddress, entry: document.entry)
    commandLine = document.commandLine
    if let bytes = commandLine?.utf8.count, bytes > Self.limits.commandLine {
      throw .at(
        "/command_line", "The command line has \(bytes) bytes; give at most \(Self.limits.commandLine).")
    }
    modules = try Self.modules(document.modules ?? [])
    let blocks = document.block ?? [:]
    guard blocks.count <= Self.limits.blocks else {
      throw .at("/block", "There are \(blocks.count) block devices; give at most \(Self.limits.blocks).")
    }
    for (name, text) in blocks {
      guard Self.isDeviceName(name) else {
        throw .at(
          "/block",
          "\(name.clipped()) is no name for a block device; give 1 to \(Self.limits.name) letters, digits, hyphens, "
            + "dots and underscores.")
      }
      self.blocks[name] = try Self.digest(text, at: "/block/" + name)
    }
  }

  /// Every blob it names, each once.
  public var digests: Set<SHA256Digest> { Set(members.map(\.digest)) }

  /// The members that name blobs: each member's JSON pointer, and its blob.
  var members: [(pointer: String, digest: SHA256Digest)] {
    var members = [(pointer: "/kernel", digest: kernel)]
    if let initramfs { members.append(("/initramfs", initramfs)) }
    for (index, module) in modules.enumerated() { members.append(("/modules/\(index)/blob", module.blob)) }
    for (name, digest) in blocks { members.append(("/block/" + name, digest)) }
    return members
  }

  /// The manifest that says so.
  public var document: ImageManifestDocument {
    ImageManifestDocument(
      kind: kind?.rawValue, kernel: kernel.description, initramfs: initramfs?.description,
      modules: modules.isEmpty
        ? nil : modules.map { ImageModuleDocument(blob: $0.blob.description, string: $0.string) },
      commandLine: commandLine, block: blocks.isEmpty ? nil : blocks.mapValues(\.description),
      mode: flat?.mode.rawValue,
      loadAddress: flat.map { Self.hex($0.loadAddress) }, entry: flat.map { Self.hex($0.entry) })
  }

  /// The kind of that name, where images of it can be stored.
  public static func kind(_ text: String, at pointer: String?) throws(DocumentMistake) -> GuestKind {
    guard let kind = GuestKind(rawValue: text), kind != .builtin else {
      let kinds = GuestKind.allCases.filter { $0 != .builtin }.map(\.rawValue).joined(separator: ", ")
      throw .at(pointer ?? "", "There is no kind \(text.clipped()); give one of \(kinds), or none.")
    }
    return kind
  }

  /// What is said of raw machine code; nil where nothing is.
  public static func placement(
    mode: String?, loadAddress: String?, entry: String?
  ) throws(DocumentMistake) -> FlatPlacement? {
    guard let mode else {
      guard loadAddress == nil, entry == nil else {
        throw .at("/mode", "An address is given, but no mode; give the mode that the code starts in.")
      }
      return nil
    }
    return try FlatPlacement(mode: mode, loadAddress: loadAddress, entry: entry, at: "")
  }

  private static func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

  private static func modules(_ documents: [ImageModuleDocument]) throws(DocumentMistake) -> [Module] {
    guard documents.count <= limits.modules else {
      throw .at("/modules", "There are \(documents.count) modules; give at most \(limits.modules).")
    }
    let bytes = documents.reduce(0) { $0 + ($1.string?.utf8.count ?? 0) }
    guard bytes <= limits.texts else {
      throw .at("/modules", "The modules' strings have \(bytes) bytes together; give at most \(limits.texts).")
    }
    var modules: [Module] = []
    for (index, document) in documents.enumerated() {
      modules.append(
        Module(blob: try digest(document.blob, at: "/modules/\(index)/blob"), string: document.string))
    }
    return modules
  }

  private static func digest(_ text: String, at pointer: String) throws(DocumentMistake) -> SHA256Digest {
    guard let digest = SHA256Digest(text) else {
      throw .at(pointer, "\(text.clipped()) is no digest; give sha256: and 64 lower-case hex digits.")
    }
    return digest
  }

  private static func isDeviceName(_ text: String) -> Bool {
    (1...limits.name).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20) || [0x2D, 0x2E, 0x5F].contains(byte)
      }
  }
}

extension DocumentMistake {
  static func at(_ pointer: String, _ description: String) -> DocumentMistake {
    DocumentMistake(pointer: pointer, description: description)
  }
}

import APIModel
import Digests
import GuestImages
import JSONCodec

/// What an image is made of, checked member by member.
struct ImageManifest: Sendable, Equatable {
  /// What it is said to be; nil: recognised by its bytes.
  var kind: GuestKind?
  var kernel: SHA256Digest
  var initramfs: SHA256Digest?
  var modules: [Module] = []
  var blocks: [String: SHA256Digest] = [:]
  var commandLine: String?
  var flat: FlatPlacement?

  /// A module of a Multiboot or PVH guest, with the text that the guest finds with it.
  struct Module: Sendable, Equatable {
    var blob: SHA256Digest
    var string: String?
  }

  /// The most block devices and modules, and the most bytes of a device's name, of a command line, and of all modules'
  /// texts together.
  private static let limits = (blocks: 16, name: 64, commandLine: 64 << 10, modules: 64, texts: 64 << 10)

  /// An image of one part.
  init(kind: GuestKind?, kernel: SHA256Digest, flat: FlatPlacement?) {
    self.kind = kind
    self.kernel = kernel
    self.flat = flat
  }

  /// What a manifest says.
  init(_ document: ImageManifestDocument) throws(APIProblem) {
    kind = try document.kind.map { kind throws(APIProblem) in try Self.kind(kind, at: "/kind") }
    kernel = try Self.digest(document.kernel, at: "/kernel")
    initramfs = try document.initramfs.map { text throws(APIProblem) in try Self.digest(text, at: "/initramfs") }
    flat = try Self.placement(document.mode, document.loadAddress, document.entry)
    commandLine = document.commandLine
    if let bytes = commandLine?.utf8.count, bytes > Self.limits.commandLine {
      throw .invalid(
        "/command_line", "The command line has \(bytes) bytes; give at most \(Self.limits.commandLine).")
    }
    modules = try Self.modules(document.modules ?? [])
    let blocks = document.block ?? [:]
    guard blocks.count <= Self.limits.blocks else {
      throw .invalid("/block", "There are \(blocks.count) block devices; give at most \(Self.limits.blocks).")
    }
    for (name, text) in blocks {
      guard Self.isDeviceName(name) else {
        throw .invalid(
          "/block",
          "\(name.clipped()) is no name for a block device; give 1 to \(Self.limits.name) letters, digits, hyphens, "
            + "dots and underscores.")
      }
      self.blocks[name] = try Self.digest(text, at: "/block/" + name)
    }
  }

  /// Reads a manifest that was stored.
  init(_ bytes: [UInt8]) throws(APIProblem) {
    let document: ImageManifestDocument
    do throws(JSONDecodingError) {
      document = try JSON.decode(ImageManifestDocument.self, from: bytes)
    } catch {
      throw APIProblem(error)
    }
    try self.init(document)
  }

  /// Every blob it names, each once.
  var digests: Set<SHA256Digest> {
    Set([kernel] + modules.map(\.blob) + blocks.values).union(initramfs.map { [$0] } ?? [])
  }

  var document: ImageManifestDocument {
    ImageManifestDocument(
      kind: kind?.rawValue, kernel: kernel.description, initramfs: initramfs?.description,
      modules: modules.isEmpty
        ? nil : modules.map { ImageModuleDocument(blob: $0.blob.description, string: $0.string) },
      commandLine: commandLine, block: blocks.isEmpty ? nil : blocks.mapValues(\.description),
      mode: flat?.mode.rawValue,
      loadAddress: flat.map { hex($0.loadAddress) }, entry: flat.map { hex($0.entry) })
  }

  /// The kind of that name, where images of it can be stored.
  static func kind(_ text: String, at pointer: String?) throws(APIProblem) -> GuestKind {
    guard let kind = GuestKind(rawValue: text), kind != .builtin else {
      let kinds = GuestKind.allCases.filter { $0 != .builtin }.map(\.rawValue).joined(separator: ", ")
      throw .invalid(pointer ?? "", "There is no kind \(text.clipped()); give one of \(kinds), or none.")
    }
    return kind
  }

  /// What is said of raw machine code; nil where nothing is.
  static func placement(_ mode: String?, _ loadAddress: String?, _ entry: String?) throws(APIProblem) -> FlatPlacement?
  {
    guard let mode else {
      guard loadAddress == nil, entry == nil else {
        throw .invalid("/mode", "An address is given, but no mode; give the mode that the code starts in.")
      }
      return nil
    }
    return try FlatPlacement(mode: mode, loadAddress: loadAddress, entry: entry, at: "")
  }

  private static func modules(_ documents: [ImageModuleDocument]) throws(APIProblem) -> [Module] {
    guard documents.count <= limits.modules else {
      throw .invalid("/modules", "There are \(documents.count) modules; give at most \(limits.modules).")
    }
    let bytes = documents.reduce(0) { $0 + ($1.string?.utf8.count ?? 0) }
    guard bytes <= limits.texts else {
      throw .invalid("/modules", "The modules' strings have \(bytes) bytes together; give at most \(limits.texts).")
    }
    var modules: [Module] = []
    for (index, document) in documents.enumerated() {
      modules.append(
        Module(blob: try digest(document.blob, at: "/modules/\(index)/blob"), string: document.string))
    }
    return modules
  }

  private static func digest(_ text: String, at pointer: String) throws(APIProblem) -> SHA256Digest {
    guard let digest = SHA256Digest(text) else {
      throw .invalid(pointer, "\(text.clipped()) is no digest; give sha256: and 64 lower-case hex digits.")
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

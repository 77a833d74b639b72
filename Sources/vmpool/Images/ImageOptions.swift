import ArgumentParser
import GuestImages

/// The parts of an image and how it starts, for commands that take files of this machine.
struct ImageOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The kind that the image has to be; recognised by its bytes when absent.", valueName: "kind"),
    completion: .list(kinds))
  var kind: String?

  @Option(
    help: ArgumentHelp(
      "A Linux guest's initramfs: an archive, or a directory to make one of. For a Multiboot or PVH guest a first module.",
      valueName: "file|directory"),
    completion: .file())
  var initramfs: String?

  @Option(
    help: ArgumentHelp(
      "A module of a Multiboot or PVH guest, and the text the guest finds with it; may be repeated.",
      valueName: "file[=text]"),
    completion: .file())
  var module: [String] = []

  @Option(help: ArgumentHelp("The guest's command line where a VM is given no other.", valueName: "text"))
  var commandLine: String?

  @Option(help: ArgumentHelp("Words that are added to the default command line of its kind.", valueName: "text"))
  var append: String?

  @Option(
    help: ArgumentHelp("A block device, by the name the guest knows; may be repeated.", valueName: "name=file"))
  var block: [String] = []

  @Option(
    help: ArgumentHelp(
      "For raw machine code, how it starts: real16, prot32, long64 or long64_ring3.", valueName: "mode"),
    completion: .list(FlatMode.allCases.map(\.rawValue)))
  var mode: String?

  @Option(help: ArgumentHelp("For raw machine code, where it is put, such as 0x10000.", valueName: "address"))
  var loadAddress: String?

  @Option(help: ArgumentHelp("For raw machine code, where it starts.", valueName: "address"))
  var entry: String?

  func validate() throws {
    if commandLine != nil && append != nil { throw ValidationError("Give either --command-line or --append.") }
    for text in block where !text.contains("=") || text.hasPrefix("=") {
      throw ValidationError("--block \(text) is not of the form name=file.")
    }
    for text in module where text.isEmpty || text.hasPrefix("=") {
      throw ValidationError("--module \(text) is not of the form file or file=text.")
    }
    guard Set(blocks.map(\.name)).count == blocks.count else { throw ValidationError("A --block is given twice.") }
    if let kind, !Self.kinds.contains(kind) {
      throw ValidationError("--kind is one of \(Self.kinds.joined(separator: ", ")).")
    }
    if mode == nil, loadAddress ?? entry != nil { throw ValidationError("An address goes with --mode.") }
    _ = try placement()
  }

  /// The kinds that a file can have.
  private static let kinds = GuestKind.allCases.filter { $0 != .builtin }.map(\.rawValue)

  /// Whether the command line gives an option that fits one image only.
  var isOfOneImage: Bool { initramfs != nil || !module.isEmpty || !block.isEmpty || entry != nil }

  /// The files of modules, with their texts.
  var modules: [(path: String, text: String?)] {
    module.map { argument in
      guard let end = argument.firstIndex(of: "=") else { return (argument, nil) }
      return (String(argument[..<end]), String(argument[end...].dropFirst()))
    }
  }

  /// The files of block devices, with the devices' names.
  var blocks: [(name: String, path: String)] {
    block.map { text in
      let end = text.firstIndex(of: "=") ?? text.endIndex
      return (String(text[..<end]), String(text[end...].dropFirst()))
    }
  }

  /// Every file that the image is made of, `paths` included.
  func inputs(_ paths: [String]) -> [String] {
    paths + [initramfs].compactMap(\.self) + modules.map(\.path) + blocks.map(\.path)
  }

  /// The addresses at which raw machine code stands and starts; nil for an image of another kind.
  func placement() throws -> FlatPlacement? {
    guard let text = mode else { return nil }
    guard let mode = FlatMode(rawValue: text) else {
      throw ValidationError("--mode is one of \(FlatMode.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    let start = try loadAddress.map(Self.address) ?? 0x10000
    return FlatPlacement(mode: mode, loadAddress: start, entry: try entry.map(Self.address))
  }

  private static func address(_ text: String) throws -> UInt64 {
    guard text.hasPrefix("0x"), let value = UInt64(text.dropFirst(2), radix: 16), text.dropFirst(2).first != "+"
    else {
      throw ValidationError("\(text) is no address; give 0x and hex digits.")
    }
    return value
  }
}

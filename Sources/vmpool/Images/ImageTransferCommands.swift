import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Digests
import Glibc
import GuestImages

extension ImagesCommand {
  struct Push: DocumentCommand {
    static let configuration = CommandConfiguration(
      abstract: "Upload images.",
      discussion: """
        Bytes that the server has are not sent again, and an upload that was interrupted goes on where it was. An image \
        is called as its file, in lower case and without an ending, unless --name says otherwise. The exit status is 66 \
        when a file cannot be read.
        """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var image: ImageOptions

    @Option(help: "What the image is called.")
    var name: String?

    @Argument(
      help: ArgumentHelp("The files: kernels, or whatever an image consists of.", valueName: "file"),
      completion: .file())
    var paths: [String]

    func validate() throws {
      guard paths.count == 1 || (name == nil && !image.isOfOneImage) else {
        throw ValidationError("--name, --initramfs, --block and --entry are for one image; give one file.")
      }
    }

    func run(_ client: VMPoolClient) throws {
      var images: [ImageDocument] = []
      for path in paths { images.append(try push(path, client)) }
      try show(list: images, of: "images", ImagesCommand.table)
    }

    private func push(_ path: String, _ client: VMPoolClient) throws -> ImageDocument {
      let kernel = try upload(path, client)
      let initramfs = try image.initramfs.map { try upload($0, client) }
      var blocks: [String: String] = [:]
      for block in image.blocks { blocks[block.name] = try upload(block.path, client) }
      return try client.putImage(
        name ?? Self.name(of: path),
        ImageManifestDocument(
          kind: image.kind, kernel: kernel, initramfs: initramfs, commandLine: image.commandLine,
          block: blocks.isEmpty ? nil : blocks, mode: image.mode, loadAddress: image.loadAddress, entry: image.entry))
    }

    private func upload(_ path: String, _ client: VMPoolClient) throws -> String {
      let file = try ImageFile(path)
      let (digest, size) = (file.digest.description, Int(clamping: file.file.size))
      guard let start = try client.missingOffset(ofBlob: digest) else { return digest }
      var offset = start < size ? start : 0
      var progress = TransferLine(path, size: size)
      defer { progress.clear() }
      _ = try client.putBlob(digest, size: size, from: offset) { target in
        guard let count = try? file.file.read(at: UInt64(offset), into: &target) else { return 0 }
        offset += count
        progress.show(offset)
        return count
      }
      return digest
    }

    /// The name that an image has by default.
    static func name(of path: String) -> String {
      let file = path.split(separator: "/").last.map(String.init) ?? path
      let stem = file.lastIndex(of: ".").map { $0 == file.startIndex ? file[...] : file[..<$0] } ?? file[...]
      let text = String(stem.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }.prefix(63))
      return text.first?.isLetter == true ? text : String(("image-" + text).prefix(63))
    }
  }

  struct Pull: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Download what an image is made of.",
      discussion: """
        Writes the main part to FILE, and the others beside it, to FILE.initramfs and FILE.NAME for each block device.
        """)

    @OptionGroup var server: ServerOptions

    @Argument(help: "The image's name.")
    var name: String

    @Option(
      name: [.customShort("o"), .customLong("output")],
      help: ArgumentHelp("Where to write it; the image's name when absent.", valueName: "file"), completion: .file())
    var file: String?

    func run(_ client: VMPoolClient) throws {
      guard let manifest = try client.image(name).manifest else {
        StandardError.complain("\(name) is shipped with the server; there is nothing to download")
        throw ExitCode(1)
      }
      let path = file ?? name
      try pull(manifest.kernel, to: path, client)
      if let initramfs = manifest.initramfs { try pull(initramfs, to: path + ".initramfs", client) }
      for (device, digest) in (manifest.block ?? [:]).sorted(by: { $0.key < $1.key }) {
        try pull(digest, to: path + "." + device, client)
      }
    }

    /// Under another name until it is whole and right.
    private func pull(_ text: String, to path: String, _ client: VMPoolClient) throws {
      let partial = path + ".part"
      // Safe, here and below: strings and buffers live for their calls.
      let descriptor = unsafe open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw cannotWrite(partial) }
      defer { close(descriptor) }
      var hasher = SHA256Hasher()
      var isWritten = true
      do {
        try client.blob(text) { bytes in
          hasher.update(bytes)
          isWritten = writeAll(bytes, to: descriptor)
          return isWritten
        }
      } catch {
        unsafe unlink(partial)
        throw error
      }
      guard isWritten, hasher.digest() == SHA256Digest(text), unsafe rename(partial, path) == 0 else {
        defer { unsafe unlink(partial) }
        if !isWritten { throw cannotWrite(partial) }
        StandardError.complain("what came for \(path) is not \(text); try again")
        throw ExitCode(76)
      }
    }

    private func cannotWrite(_ path: String) -> ExitCode {
      // Safe: the text is copied before anything could replace it; the program has one thread.
      StandardError.complain("\(path) cannot be written: \(unsafe String(cString: strerror(errno)))")
      return ExitCode(74)
    }
  }

  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say what a file is, without a server.",
      discussion: "The exit status is 1 when it is no image, and 66 when it cannot be read.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var image: ImageOptions

    @Argument(help: "The file.", completion: .file())
    var path: String

    func run() throws {
      let file = try ImageFile(path)
      var parts = ImageParts(main: file.part, commandLine: image.commandLine, flat: try placement())
      parts.initramfs = try image.initramfs.map { try ImageFile($0).part }
      for block in image.blocks { parts.blocks[block.name] = try ImageFile(block.path).part }
      let kind = image.kind.flatMap { GuestKind(rawValue: $0) }
      let found: GuestImage
      do throws(ImageError) {
        found = try GuestImage(name: Push.name(of: path), parts, kind: kind)
      } catch {
        StandardError.complain("\(path): \(error)")
        throw ExitCode(1)
      }
      try output.show(ImageDocument(found, of: file), ImagesCommand.details)
    }

    private func placement() throws -> FlatPlacement? {
      guard let text = image.mode else { return nil }
      guard let mode = FlatMode(rawValue: text) else {
        throw ValidationError("--mode is one of \(FlatMode.allCases.map(\.rawValue).joined(separator: ", ")).")
      }
      let start = try image.loadAddress.map(address) ?? 0x10000
      return FlatPlacement(mode: mode, loadAddress: start, entry: try image.entry.map(address))
    }

    private func address(_ text: String) throws -> UInt64 {
      guard text.hasPrefix("0x"), let value = UInt64(text.dropFirst(2), radix: 16), text.dropFirst(2).first != "+"
      else {
        throw ValidationError("\(text) is no address; give 0x and hex digits.")
      }
      return value
    }
  }
}

/// How far a file is, on one line of a terminal; nothing where stderr is none.
struct TransferLine {
  private let isShown = isatty(STDERR_FILENO) != 0
  private let path: String
  private let size: Int
  private var percent = -1

  init(_ path: String, size: Int) { (self.path, self.size) = (path, size) }

  mutating func show(_ done: Int) {
    let now = size == 0 ? 100 : Int(Double(done) / Double(size) * 100)
    guard isShown, now != percent else { return }
    percent = now
    StandardError.write("\r\(printable(path))  \(now) % of \(size >> 20) MiB\u{1B}[K")
  }

  func clear() { if isShown { StandardError.write("\r\u{1B}[K") } }
}

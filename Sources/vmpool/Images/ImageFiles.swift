import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import GuestImages

/// The files of one image on this machine, with the options that the command line gives for them.
struct ImageFiles {
  private let main: ImageFile
  private let initramfs: ImageFile?
  private let modules: [(file: ImageFile, text: String?)]
  private let blocks: [(name: String, file: ImageFile)]
  private let options: ImageOptions
  /// A kind that `--kind` names; nil to recognise the file by its bytes.
  private let kind: GuestKind?

  /// Opens and reads every file that the options name. Reports one that cannot be read, and throws exit status 66, or 65
  /// for a directory that cannot be packed. A pipe or a device with more than `limit` bytes is 65, too.
  init(_ main: ImageFile, _ options: ImageOptions, limit: Int) throws {
    self.main = main
    self.options = options
    kind = options.kind.flatMap { GuestKind(rawValue: $0) }
    initramfs = try options.initramfs.map { path in
      let line = options.commandLine ?? options.append ?? ""
      return try ImageFile.initramfs(path, namesProgram: line.contains("rdinit="), limit: limit)
    }
    modules = try options.modules.map { (try ImageFile($0.path, limit: limit), $0.text) }
    blocks = try options.blocks.map { ($0.name, try ImageFile($0.path, limit: limit)) }
  }

  /// The image that the files make, without a server.
  func recognised(as name: String) throws(ImageError) -> GuestImage {
    var parts = ImageParts(
      main: main.part, initramfs: initramfs?.part, modules: modules.map { ImageModule($0.file.part, text: $0.text) },
      commandLine: options.commandLine)
    // `ImageOptions` has checked the placement.
    parts.flat = try? options.placement()
    for block in blocks { parts.blocks[block.name] = block.file.part }
    return try GuestImage(name: name, parts, kind: kind)
  }

  /// The manifest that a server gets.
  enum Sent: Equatable {
    case blob(digest: String)
    case image
  }

  /// Sends what the server does not have, and makes the image. `isReplaced` says whether there was one of that name.
  /// It calls `noting` before it sends each part.
  func store(
    as name: String, to client: VMPoolClient, noting: (Sent) -> Void = { _ in }
  ) throws -> (image: ImageDocument, isReplaced: Bool) {
    let stored = try sendAll(as: name, to: client, noting: noting)
    if let commandLine = options.commandLine { LinuxConsole.hint(stored.image.kind, commandLine: commandLine) }
    return stored
  }

  private func sendAll(
    as name: String, to client: VMPoolClient, noting: (Sent) -> Void
  ) throws -> (image: ImageDocument, isReplaced: Bool) {
    for _ in 1...3 {
      for file in files { try file.upload(client, noting) }
      noting(.image)
      do throws(APIError) {
        return try client.putImage(name, manifest)
      } catch {
        // A blob goes with the last image that names it. Where that happened meanwhile, the blob must be sent again.
        guard Self.isLostBlob(error) else { throw error }
      }
    }
    return try client.putImage(name, manifest)
  }

  private var files: [ImageFile] { [main] + [initramfs].compactMap(\.self) + modules.map(\.file) + blocks.map(\.file) }

  private static func isLostBlob(_ error: APIError) -> Bool {
    guard case .problem(let problem) = error else { return false }
    return problem.status == 400 && problem.detail.hasPrefix("There is no blob ")
  }

  private var manifest: ImageManifestDocument {
    let contents = Dictionary(uniqueKeysWithValues: blocks.map { ($0.name, $0.file.digest.description) })
    return ImageManifestDocument(
      kind: options.kind, kernel: main.digest.description, initramfs: initramfs?.digest.description,
      modules: modules.isEmpty
        ? nil : modules.map { ImageModuleDocument(blob: $0.file.digest.description, string: $0.text) },
      commandLine: commandLine, block: contents.isEmpty ? nil : contents, mode: options.mode,
      loadAddress: options.loadAddress, entry: options.entry)
  }

  /// The image's own command line: with `--append`, the default of its kind and the words.
  private var commandLine: String? {
    guard let append = options.append else { return options.commandLine }
    // A file that is no image goes on to the server, which says what is wrong with it.
    let kind = kind ?? (try? recognised(as: "image"))?.description.kind
    return [kind?.defaultCommandLine, append].compactMap(\.self).joined(separator: " ")
  }
}

extension ImageFile {
  /// Sends the bytes that the server does not have. A signal that ``notingSignals(_:)`` notes ends it with an error.
  fileprivate func upload(_ client: VMPoolClient, _ noting: (ImageFiles.Sent) -> Void) throws {
    let (digest, size) = (digest.description, Int(clamping: file.size))
    guard let start = try client.missingOffset(ofBlob: digest) else { return }
    noting(.blob(digest: digest))
    var offset = start < size ? start : 0
    var progress = TransferLine(path, size: size)
    defer { progress.clear() }
    _ = try client.putBlob(digest, size: size, from: offset) { target in
      guard arrivedSignal == nil, let count = try? file.read(at: UInt64(offset), into: &target) else { return nil }
      offset += count
      progress.show(offset)
      return count
    }
  }
}

extension VMPoolClient {
  /// Deletes a blob, unless it is an image's.
  func deleteUnusedBlob(_ digest: String) throws(APIError) {
    do throws(APIError) {
      try deleteBlob(digest)
    } catch .problem(let problem) where problem.type == "/problems/blob-in-use" {
      // It came to be another image's, too.
    }
  }
}

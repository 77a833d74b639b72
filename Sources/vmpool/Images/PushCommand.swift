import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

extension ImagesCommand {
  struct Push: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "push", abstract: "Upload images.",
      discussion: """
        Bytes that the server has are not sent again, and an upload that was interrupted goes on where it was. An image \
        gets its file's name, in lower case and without an ending such as .elf or .bin, unless --name gives another. An \
        image that replaces another is reported on stderr. A pipe, or - for stdin, needs --name: \
        `make-kernel | vmpool images push - --name kernel`.
        \(InitramfsArchive.help)
        Ends with 66 when a file cannot be read, and with 65 when a directory cannot be packed.
        """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var quiet: QuietOptions
    @OptionGroup var image: ImageOptions

    @Option(help: "The image's name.", completion: Completions.storedImages)
    var name: String?

    @Argument(
      help: ArgumentHelp("The files: kernels, or other images' main parts; - for stdin.", valueName: "file"),
      completion: .file())
    var paths: [String]

    func validate() throws {
      guard paths.count == 1 || (name == nil && !image.isOfOneImage) else {
        throw ValidationError("--name, --initramfs, --module, --block and --entry are for one image; give one file.")
      }
      if name == nil && paths.contains("-") { throw ValidationError("stdin has no name; give --name.") }
      guard image.inputs(paths).count(where: { $0 == "-" }) <= 1 else {
        throw ValidationError("stdin can be read once; give - once.")
      }
      try Self.checkNames(paths)
    }

    /// Two files of one name would replace each other.
    private static func checkNames(_ paths: [String]) throws {
      let byName = Dictionary(grouping: paths, by: ImageName.of(path:))
      guard let (name, same) = byName.sorted(by: { $0.key < $1.key }).first(where: { $0.value.count > 1 }) else {
        return
      }
      throw ValidationError(
        "\(same.joined(separator: " and ")) would both be called \(name); push them one by one with --name.")
    }

    func run(_ client: VMPoolClient) throws {
      // All files are read before the first is sent: one that cannot be read, or has no name, stops all.
      let limit = try client.host().limits.maxBlobBytes
      let files = try paths.map { path throws(ExitCode) in try ImageFile(path, limit: limit) }
      for file in files where name == nil && !file.isRegular {
        throw ValidationError("\(file.path) is a pipe, which has no name; give --name.")
      }
      var images: [ImageDocument] = []
      for file in files { images.append(try push(file, client, limit: limit)) }
      try output.show(list: images, of: "images", quiet: quiet.quiet, ImagesCommand.table)
    }

    private func push(_ file: ImageFile, _ client: VMPoolClient, limit: Int) throws -> ImageDocument {
      let name = name ?? ImageName.of(path: file.path)
      var sent: [String] = []
      let stored: (image: ImageDocument, isReplaced: Bool)
      do {
        stored = try ImageFiles(file, image, limit: limit).store(as: name, to: client) {
          if case .blob(let blob) = $0 { sent.append(blob) }
        }
      } catch APIError.problem(let problem) {
        Self.delete(sent, client)
        throw APIError.problem(problem)
      }
      if stored.isReplaced { StandardError.complain("\(name) was there, and is replaced") }
      return stored.image
    }

    /// Deletes what was sent for an image that the server then refused. Says what is left.
    private static func delete(_ blobs: [String], _ client: VMPoolClient) {
      for blob in Set(blobs).sorted() {
        do throws(APIError) {
          try client.deleteUnusedBlob(blob)
        } catch .problem(let problem) where problem.status == 404 {
          // It was refused itself, or another client deleted it.
        } catch {
          StandardError.complain("\(blob) is left; `vmpool blobs prune` deletes it: \(Advice.text(error))")
        }
      }
    }
  }
}

/// Names for images whose name the command line does not give.
enum ImageName {
  /// Endings that name a file's format. Any other text after a dot stays in the name, such as the version of
  /// `vmlinuz-6.1.0-18-amd64`.
  private static let endings: Set<String> = [
    "elf", "elf32", "elf64", "bin", "img", "raw", "exe", "efi", "hvt", "spt", "kernel", "ko", "iso", "o", "out", "flat",
    "gz", "xz", "zst", "bz2", "lz4",
  ]

  /// The name for a file's image: its last component in lower case, without known endings, other characters than
  /// letters and digits as dashes.
  static func of(path: String) -> String {
    var stem = path.split(separator: "/").last ?? path[...]
    while let dot = stem.lastIndex(of: "."), dot > stem.startIndex,
      endings.contains(stem[stem.index(after: dot)...].lowercased())
    {
      stem = stem[..<dot]
    }
    let text = String(stem.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }.prefix(63))
    return text.first?.isLetter == true ? text : String(("image-" + text).prefix(63))
  }
}

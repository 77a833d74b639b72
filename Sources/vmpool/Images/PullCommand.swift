import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Digests
import Glibc

extension ImagesCommand {
  struct Pull: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "pull", abstract: "Download the parts of an image.",
      discussion: """
        Writes the main part to FILE, and the others beside it, to FILE.initramfs and FILE.NAME for each block device. \
        A regular file is replaced when its bytes are complete and right. A device or a pipe is written to, and so is \
        stdout for -; they get the main part alone. Ends with 74 when it cannot be written, and with 76 when the bytes \
        that came are not those of the image.
        """)

    @OptionGroup var server: ServerOptions

    @Argument(help: "The image's name.", completion: Completions.storedImages)
    var name: String

    @Option(
      name: [.customShort("o"), .customLong("output")],
      help: ArgumentHelp("Where to write it; the image's name when absent.", valueName: "file"), completion: .file())
    var file: String?

    var mentioned: [Mention] { [.image(name)] }

    func run(_ client: VMPoolClient) throws {
      guard let manifest = try client.image(name).manifest else {
        throw Failure("\(name) is shipped with the server; there is nothing to download", status: 1)
      }
      let path = file ?? name
      if let stream = try Destination(path) {
        try pull(manifest.kernel, to: stream, client)
        if manifest.initramfs != nil || manifest.block?.isEmpty == false {
          StandardError.complain("\(path) got the main part alone; give -o a regular file for the others")
        }
        return
      }
      try replace(path, by: manifest.kernel, client)
      if let initramfs = manifest.initramfs { try replace(path + ".initramfs", by: initramfs, client) }
      for (device, digest) in (manifest.block ?? [:]).sorted(by: { $0.key < $1.key }) {
        try replace(path + "." + device, by: digest, client)
      }
    }

    /// Writes a blob as it comes. It checks the digest at the end, when it cannot take back what it wrote.
    private func pull(_ digest: String, to destination: borrowing Destination, _ client: VMPoolClient) throws {
      var hasher = SHA256Hasher()
      var failure: Int32?
      let descriptor = destination.descriptor
      try client.blob(digest) { bytes in
        hasher.update(bytes)
        if !writeAll(bytes, to: descriptor) { failure = errno }
        return failure == nil
      }
      if let failure { throw cannotWrite(destination.path, failure) }
      try check(hasher.digest(), digest, destination.path)
    }

    /// Writes a blob under another name beside `path`, and renames it when it is complete and has its digest. Where
    /// `path` is a symbolic link, this replaces the file that the link points to.
    private func replace(_ path: String, by digest: String, _ client: VMPoolClient) throws {
      let path = Self.target(of: path)
      let partial = path + ".part"
      // Safe, here and below: strings live for their calls.
      let descriptor = unsafe open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw cannotWrite(partial, errno) }
      do {
        try pull(digest, to: Destination(partial, descriptor: descriptor), client)
        guard unsafe rename(partial, path) == 0 else { throw cannotWrite(path, errno) }
      } catch {
        unsafe unlink(partial)
        throw error
      }
    }

    /// The file that a path leads to, symbolic links followed; the path itself where no file stands there yet.
    private static func target(of path: String) -> String {
      // Safe: the result is the C library's, copied and freed here.
      guard let resolved = unsafe realpath(path, nil) else { return path }
      defer { unsafe free(resolved) }
      return unsafe String(cString: resolved)
    }

    private func check(_ found: SHA256Digest, _ digest: String, _ path: String) throws {
      if found == SHA256Digest(digest) { return }
      throw Failure("the bytes that came for \(path) are not \(digest); try again", status: 76)
    }

    private func cannotWrite(_ path: String, _ number: Int32) -> Failure {
      Failure("\(path) cannot be written: \(errorText(number))", status: 74)
    }
  }

  /// An open place to write to; closed at the end, unless it is stdout.
  private struct Destination: ~Copyable {
    let path: String
    let descriptor: Int32

    init(_ path: String, descriptor: Int32) {
      self.path = path
      self.descriptor = descriptor
    }

    /// stdout for `-`, or a path that is no regular file, such as a pipe; nil otherwise.
    init?(_ path: String) throws(Failure) {
      if path == "-" {
        self.init("stdout", descriptor: STDOUT_FILENO)
        return
      }
      var status = stat()
      // Safe, here and below: the structure is a local, and strings live for their calls.
      guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG else { return nil }
      let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw Failure("\(path) cannot be written: \(errorText(errno))", status: 74) }
      self.init(path, descriptor: descriptor)
    }

    deinit { if descriptor != STDOUT_FILENO { close(descriptor) } }
  }
}

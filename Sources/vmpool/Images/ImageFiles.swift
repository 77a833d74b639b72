import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Digests
import GuestImages
import LinuxSupport

/// What an image is made of, on this machine.
struct ImageOptions: ParsableArguments {
  @Option(help: ArgumentHelp("What the image has to be; recognised by its bytes when absent.", valueName: "kind"))
  var kind: String?

  @Option(
    help: ArgumentHelp("A Linux guest's initramfs, or a Multiboot guest's first module.", valueName: "file"),
    completion: .file())
  var initramfs: String?

  @Option(help: ArgumentHelp("What the guest is told when nothing else is said.", valueName: "text"))
  var commandLine: String?

  @Option(
    help: ArgumentHelp("A block device, by the name the guest knows. May be repeated.", valueName: "name=file"))
  var block: [String] = []

  @Option(
    help: ArgumentHelp(
      "For raw machine code, how it starts: real16, prot32, long64 or long64_ring3.", valueName: "mode"))
  var mode: String?

  @Option(help: ArgumentHelp("For raw machine code, where it is put, such as 0x10000.", valueName: "address"))
  var loadAddress: String?

  @Option(help: ArgumentHelp("For raw machine code, where it starts.", valueName: "address"))
  var entry: String?

  func validate() throws {
    for text in block where !text.contains("=") || text.hasPrefix("=") {
      throw ValidationError("--block \(text) is not of the form name=file.")
    }
    if let kind, GuestKind(rawValue: kind) == nil {
      throw ValidationError("--kind is one of \(GuestKind.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    if mode == nil, loadAddress ?? entry != nil { throw ValidationError("An address wants --mode as well.") }
  }

  /// Whether anything is said that fits one image only.
  var isOfOneImage: Bool { initramfs != nil || !block.isEmpty || entry != nil }

  /// The files of block devices by name.
  var blocks: [(name: String, path: String)] {
    block.map { text in
      let end = text.firstIndex(of: "=") ?? text.endIndex
      return (String(text[..<end]), String(text[end...].dropFirst()))
    }
  }
}

/// A file with its digest.
struct ImageFile {
  let path: String
  let file: ReadableFile
  let digest: SHA256Digest

  /// Reads all of it. One that cannot be read is told of on stderr, and the exit status is 66.
  init(_ path: String) throws(ExitCode) {
    do {
      file = try ReadableFile(path: path)
      var hasher = SHA256Hasher()
      var buffer = [UInt8](repeating: 0, count: 256 << 10)
      var offset: UInt64 = 0
      while true {
        var span = buffer.mutableSpan
        // Safe: whatever bytes are written, they are valid elements.
        var target = unsafe span.mutableBytes
        let count = try file.read(at: offset, into: &target)
        if count == 0 { break }
        hasher.update(unsafe buffer.span.bytes.extracting(first: count))
        offset += UInt64(count)
      }
      digest = hasher.digest()
    } catch {
      StandardError.complain("\(path) cannot be read: \(error)")
      throw ExitCode(66)
    }
    self.path = path
  }

  var part: ImagePart { ImagePart(FileBytes(file, identity: digest.description)) }
}

extension ImageDocument {
  /// A file that was looked at here.
  init(_ image: GuestImage, of file: ImageFile) {
    let description = image.description
    self.init(
      name: image.name, kind: description.kind.rawValue, description: "A file on this machine.",
      sizeBytes: Int(clamping: description.sizeBytes), digest: file.digest.description,
      maxVCPUs: description.maxVCPUs, ring: description.ring, entry: description.entry.map(hexadecimal),
      segments: description.segments.map {
        ImageSegmentDocument(
          address: hexadecimal($0.address), fileBytes: Int(clamping: $0.fileBytes),
          memoryBytes: Int(clamping: $0.memoryBytes), access: $0.access)
      }, notes: description.notes, manifest: nil, createdAt: nil, reason: nil)
  }
}

private func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

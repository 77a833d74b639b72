import APIModel
import ArgumentParser
import CommandLineSupport
import GuestImages

extension ImagesCommand {
  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "inspect", abstract: "Show what a file on this machine is, without a server.",
      discussion:
        "Ends with 65 when it is no image, and with 66 when it cannot be read. `vmpool images show` shows stored ones.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var image: ImageOptions

    @Argument(help: "The file, or - for stdin.", completion: .file())
    var path: String

    /// How much of a pipe or a device is read: what a server takes where its operator says nothing else.
    private static let limit = 1 << 30

    func run() throws {
      let file = try ImageFile(path, limit: Self.limit)
      let files = try ImageFiles(file, image, limit: Self.limit)
      let found: GuestImage
      do throws(ImageError) {
        found = try files.recognised(as: ImageName.of(path: path))
      } catch {
        StandardError.complain("\(path): \(error)")
        throw ExitCode(65)
      }
      try output.show(ImageDocument(found, of: file), ImagesCommand.details)
    }
  }
}

extension ImageDocument {
  /// An image of a file on this machine.
  fileprivate init(_ image: GuestImage, of file: ImageFile) {
    let description = image.description
    self.init(
      name: image.name, kind: description.kind.rawValue, description: "A file on this machine.",
      sizeBytes: Int(clamping: description.sizeBytes), digest: file.digest.description,
      maxVCPUs: description.maxVCPUs, minMemoryMiB: image.minimumMemory.mib, ring: description.ring,
      entry: description.entry.map(hexadecimal),
      segments: description.segments.map {
        ImageSegmentDocument(
          address: hexadecimal($0.address), fileBytes: Int(clamping: $0.fileBytes),
          memoryBytes: Int(clamping: $0.memoryBytes), access: $0.access)
      }, notes: description.notes, manifest: nil, createdAt: nil, reason: nil)
  }
}

private func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

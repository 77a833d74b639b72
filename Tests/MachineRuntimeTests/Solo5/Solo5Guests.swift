import Foundation
import GuestImages
import Testing

@testable import MachineRuntime

/// The unikernels of `Tests/Guests/solo5`, built once by the C compiler, or the reason why there are none.
enum Solo5Guests {
  static let folder: URL? = {
    let folder = FileManager.default.temporaryDirectory.appending(path: "vmpool-solo5-\(getpid())")
    let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Guests/solo5").standardized
    let build = source.appending(path: "build").path
    // Not Foundation's Process: its waiting has been seen to hang when two of them run at the same time.
    // Safe: the string lives for the call.
    guard unsafe system("'\(build)' '\(folder.path)'") == 0 else {
      FileHandle.standardError.write(Data("SKIPPED: Solo5 unikernels: gcc does not build them\n".utf8))
      return nil
    }
    return folder
  }()

  static var areAvailable: Bool { RealVM.isAvailable && folder != nil }

  static func image(_ name: String, _ commandLine: String?, blocks: [String: [UInt8]] = [:]) throws -> GuestImage {
    let file = try Data(contentsOf: #require(folder).appending(path: name))
    let parts = ImageParts(
      main: ImagePart([UInt8](file)), blocks: blocks.mapValues { ImagePart($0) }, commandLine: commandLine)
    return try GuestImage(name: name, parts)
  }

  /// `probe`, with a disk of 16 KiB that holds 0, 1, 2 … 255 over and over.
  static func probe(_ commandLine: String, disk: [UInt8] = Self.disk) throws -> GuestImage {
    try image("probe", commandLine, blocks: ["disk": disk])
  }

  static let disk = (0..<16384).map { UInt8(truncatingIfNeeded: $0) }

  /// What a VM of `image` printed until it stopped, and how it did.
  static func run(
    _ image: GuestImage, memoryMiB: Int = 2, deadlineNS: UInt64? = nil
  ) throws -> (output: String, stop: MachineStop?) {
    let changes = Changes()
    let machine = try RealVM.make(image, memoryMiB: memoryMiB, deadlineNS: deadlineNS, changes: changes)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    let stop = changes.waitForStop()
    return (machine.output, stop)
  }
}

extension Machine {
  /// All that the guest has printed, as far as the console keeps it.
  var output: String { String(decoding: console.read(from: 0, limit: 1 << 20).bytes, as: UTF8.self) }

  /// Waits until the guest has printed `text`, and lets it run on.
  func waitForOutput(_ text: String) throws {
    while !output.contains(text) {
      // As long as it takes: the guest's own time is not ours.
      guard case .running = state else { throw CocoaError(.featureUnsupported) }
      _ = try requestKicks(vcpu: nil).wait(untilNS: RealVM.soon)
    }
  }
}

import Foundation
import GuestImages
import Testing

/// The guests of `Tests/Guests`, built once.
enum BuiltGuest {
  static let folder: URL? = {
    let folder = FileManager.default.temporaryDirectory.appending(path: "vmpool-guests-\(UUID().uuidString)")
    let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Guests/build").standardized
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let build = try Process.run(script, arguments: [folder.path])
      build.waitUntilExit()
      return build.terminationStatus == 0 ? folder : nil
    } catch { return nil }
  }()

  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: #require(folder, "Tests/Guests/build failed").appending(path: name)))
  }

  static func named(
    _ name: String, initramfs: String? = nil, modules: [ImageModule] = [], commandLine: String? = nil
  ) throws -> GuestImage {
    let parts = ImageParts(
      main: ImagePart(try bytes(name)), initramfs: initramfs.map { ImagePart(Array($0.utf8)) }, modules: modules,
      commandLine: commandLine)
    return try GuestImage(name: name, parts)
  }
}

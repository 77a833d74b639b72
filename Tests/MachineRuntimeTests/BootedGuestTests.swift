import Foundation
import GuestImages
import KVM
import Testing

@testable import MachineRuntime

/// The guests of `Tests/Guests`, built once.
private enum BuiltGuest {
  static let folder: URL? = {
    let folder = FileManager.default.temporaryDirectory.appending(path: "vmpool-guests-\(UUID().uuidString)")
    let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Guests/build").standardized
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let build = try Process.run(script, arguments: [folder.path])
      build.waitUntilExit()
      return build.terminationStatus == 0 ? folder : nil
    } catch { return nil }
  }()

  static func named(_ name: String, initramfs: String? = nil, commandLine: String? = nil) throws -> GuestImage {
    let file = try #require(folder, "Tests/Guests/build failed").appending(path: name)
    let parts = ImageParts(
      main: ImagePart([UInt8](try Data(contentsOf: file))), initramfs: initramfs.map { ImagePart(Array($0.utf8)) },
      commandLine: commandLine)
    return try GuestImage(name: name, parts)
  }
}

@Suite(.enabled(if: RealVM.isAvailable)) struct BootedGuestTests {
  /// What the guest printed, and how it ended.
  private func run(
    _ image: GuestImage, vcpus: Int = 1, memoryMiB: Int = 4, told: GuestArguments = GuestArguments()
  ) throws -> (lines: [String], MachineStop?) {
    let changes = Changes()
    let machine = try RealVM.make(image, vcpus: vcpus, memoryMiB: memoryMiB, changes: changes)
    defer { machine.destroy() }
    try machine.tell(told)
    try machine.start(untilNS: RealVM.soon)
    let stop = changes.waitForStop()
    let output = String(decoding: machine.console.read(from: 0, limit: 4096).bytes, as: UTF8.self)
    return (output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init), stop)
  }

  private static let exited = MachineStop.exited(code: 0)

  /// Of 4 MiB: up to 639 KiB, and from 1 MiB on.
  private static let usable = "0039fc00"
  /// Where the ACPI tables are.
  private static let tables = "000e0000"

  @Test(arguments: ["multiboot", "multiboot-addresses"]) func multiboot(name: String) throws {
    let image = try BuiltGuest.named(name)
    #expect(image.description.kind == .multiboot)
    let (lines, stop) = try run(image)
    #expect(lines == ["kernel ", "00000c00", Self.usable, "00000001", ""])
    #expect(stop == Self.exited)
  }

  @Test(arguments: ["multiboot", "multiboot-addresses"]) func multibootIsTold(name: String) throws {
    let image = try BuiltGuest.named(name, initramfs: "a module\n", commandLine: "of the image")
    #expect(try run(image).lines.prefix(4) == ["kernel of the image", "00000c00", "a module", Self.usable])
    let told = GuestArguments(commandLine: "told", environment: ["B": "2", "A": "1"])
    let (lines, stop) = try run(image, told: told)
    #expect(lines == ["kernel told", "00000c00", "a module", "A=1", "B=2", Self.usable, "00000001", ""])
    #expect(stop == Self.exited)
  }

  @Test func multibootStartsTheOtherVCPUs() throws {
    let (lines, stop) = try run(try BuiltGuest.named("multiboot"), vcpus: 8)
    #expect(lines.last(where: { !$0.isEmpty }) == "00000008")
    #expect(stop == Self.exited)
  }

  @Test func pvh() throws {
    let image = try BuiltGuest.named("pvh")
    #expect(image.description.notes["start"] == "PVH")
    let (lines, stop) = try run(image)
    #expect(lines == ["", Self.usable, Self.tables, ""])
    #expect(stop == Self.exited)
  }

  @Test func pvhIsTold() throws {
    let image = try BuiltGuest.named("pvh", initramfs: "a module\n", commandLine: "of the image")
    #expect(try run(image).lines == ["of the image", "a module", Self.usable, Self.tables, ""])
    let (lines, stop) = try run(image, told: GuestArguments(commandLine: "told"))
    #expect(lines == ["told", "a module", Self.usable, Self.tables, ""])
    #expect(stop == Self.exited)
  }

  @Test func elf() throws {
    let image = try BuiltGuest.named("elf")
    #expect(image.description.kind == .elf)
    let (lines, stop) = try run(image)
    #expect(lines == ["64 bits", ""])
    #expect(stop == Self.exited)
  }
}

import Foundation
import GuestImages
import KVM
import Testing

@testable import MachineRuntime

@Suite(.enabled(if: RealVM.isAvailable)) struct BootedGuestTests {
  /// What the guest printed, and how it ended.
  private func run(
    _ image: GuestImage, vcpus: Int = 1, memoryMiB: Int = 4, told: GuestArguments = GuestArguments()
  ) throws -> (lines: [String], MachineStop?) {
    let changes = Changes()
    let machine = try RealVM.make(image, vcpus: vcpus, memoryMiB: memoryMiB, changes: changes)
    defer { machine.destroy() }
    try machine.setArguments(told)
    try machine.start(untilNS: RealVM.soon)
    let stop = changes.waitForStop()
    let output = String(decoding: machine.console.read(from: 0, limit: 4096).bytes, as: UTF8.self)
    return (output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init), stop)
  }

  private static let exited = MachineStop.guest(.exited(code: 0))

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

  @Test(arguments: [8, 64]) func multibootStartsTheOtherVCPUs(vcpus: Int) throws {
    let (lines, stop) = try run(try BuiltGuest.named("multiboot"), vcpus: vcpus)
    #expect(lines.last(where: { !$0.isEmpty }) == (vcpus == 8 ? "00000008" : "00000040"))
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

  /// Kernels whose one segment is writable and executable, and files of 32 bits: both start at their PVH note.
  @Test(arguments: ["pvh-rwx", "pvh-32"]) func pvhOfOtherShapes(name: String) throws {
    let image = try BuiltGuest.named(name)
    #expect(image.description.notes["start"] == "PVH")
    let (lines, stop) = try run(image)
    #expect(lines == ["", Self.usable, Self.tables, ""])
    #expect(stop == Self.exited)
  }

  /// An ELF file of 64 bits with a Multiboot header, started as such a loader does. It finds what firmware leaves on a PC.
  @Test func multibootInAFileOf64Bits() throws {
    let image = try BuiltGuest.named("multiboot64", commandLine: "a")
    #expect(image.description.kind == .multiboot)
    let (lines, stop) = try run(image)
    #expect(lines == [""])
    #expect(stop == Self.exited)
  }

  @Test func modulesHaveTexts() throws {
    let modules = [
      ImageModule(ImagePart(Array("two\n".utf8)), text: "second a=b"), ImageModule(ImagePart(Array("3".utf8))),
    ]
    let image = try BuiltGuest.named("multiboot64", initramfs: "one\n", modules: modules)
    let (lines, stop) = try run(image)
    #expect(lines == ["one", "second a=b", "two", "3"])
    #expect(stop == Self.exited)
  }

  @Test func theTimerInterruptsThroughPin2() throws {
    #expect(try run(try BuiltGuest.named("timer")).1 == Self.exited)
  }

  /// 2 MiB more than fit below the hole.
  @Test func memoryGoesOnAboveTheHole() throws {
    let code = FlatImage(mode: .long64Ring3, code: try BuiltGuest.bytes("above"))
    #expect(try run(.flat(code), memoryMiB: 3074).1 == Self.exited)
  }

  /// It waits until the clock is not being updated, which never was where there is no clock.
  @Test func theClockShowsTheHostsDate() throws {
    let code = FlatImage(mode: .long64Ring3, code: try BuiltGuest.bytes("clock"))
    func today() -> String {
      Date().formatted(
        .verbatim(
          "\(year: .padded(4))\(month: .twoDigits)\(day: .twoDigits)", timeZone: .gmt,
          calendar: .init(identifier: .gregorian)))
    }
    let before = today()
    let (lines, stop) = try run(.flat(code))
    #expect(lines == [before] || lines == [today()])
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

import Foundation
import LinuxSupport
import SystemPackage
import TestSupport
import Testing

@testable import GuestImages

/// A file with these bytes, removed when the value goes away.
private final class ScratchFile {
  private let directory: ScratchDirectory
  let path: String

  init(_ bytes: [UInt8]) throws {
    directory = try ScratchDirectory()
    path = try directory.write(bytes, to: "image")
  }
}

struct ImagePartTests {
  static let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0) }

  /// The same bytes, in memory and in a file.
  private static func parts(_ file: ScratchFile) throws -> [ImagePart] {
    [ImagePart(bytes), ImagePart(FileBytes(try ReadableFile(path: file.path), identity: "a"))]
  }

  @Test func givesWhatIsThere() throws {
    let file = try ScratchFile(Self.bytes)
    for part in try Self.parts(file) {
      #expect(part.count == 300)
      #expect(try part.bytes(at: 0, count: 300) == Self.bytes)
      #expect(try part.bytes(at: 299, count: 1) == [43])
      #expect(try part.bytes(at: 300, count: 0).isEmpty)
      #expect(try part.bytes(at: 256, count: 3) == [0, 1, 2])
    }
  }

  static let missing: [(UInt64, Int)] = [(0, 301), (300, 1), (301, 0), (299, 2), (.max, 1), (0, .max), (.max, .max)]

  @Test(arguments: missing)
  func refusesWhatIsNotThere(offset: UInt64, count: Int) throws {
    let file = try ScratchFile(Self.bytes)
    for part in try Self.parts(file) {
      #expect(throws: ImageReadError.self) { try part.bytes(at: offset, count: count) }
      #expect(!part.contains(offset: offset, count: UInt64(count)))
    }
  }

  @Test func saysWhenTheFileHasBecomeShorter() throws {
    let file = try ScratchFile(Self.bytes)
    let part = ImagePart(FileBytes(try ReadableFile(path: file.path), identity: "a"))
    // Safe: the string lives for the call.
    #expect(unsafe truncate(file.path, 100) == 0)
    let error = try #require(throws: ImageReadError.self) { try part.bytes(at: 50, count: 100) }
    #expect(error.reason.contains("shorter"))
  }

  @Test func opensRegularFilesOnly() throws {
    for path in ["/dev/null", NSTemporaryDirectory()] {
      #expect(throws: Errno.invalidArgument) { try ReadableFile(path: path) }
    }
    #expect(throws: Errno.noSuchFileOrDirectory) { try ReadableFile(path: "/nonexistent") }
  }

  @Test func tellsPartsApart() throws {
    let file = try ScratchFile(Self.bytes)
    func stored(_ identity: String) throws -> ImagePart {
      ImagePart(FileBytes(try ReadableFile(path: file.path), identity: identity))
    }
    #expect(ImagePart([1, 2]) == ImagePart([1, 2]))
    #expect(ImagePart([1, 2]) != ImagePart([1, 3]))
    #expect(try stored("a") == stored("a"))
    #expect(try stored("a") != stored("b"))
    #expect(try stored("a") != ImagePart(Self.bytes))
  }

  @Test func littleEndianNumbers() {
    let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    #expect(bytes.littleEndian(UInt64.self, at: 0) == 0x0807_0605_0403_0201)
    #expect(bytes.littleEndian(UInt16.self, at: 6) == 0x0807)
    for offset in [7, 8, 9, -1, .max, .min] { #expect(bytes.littleEndian(UInt16.self, at: offset) == nil) }
    #expect([UInt8](littleEndian: UInt32(0x0403_0201)) == [1, 2, 3, 4])
  }
}

struct GuestArgumentsTests {
  private let places = ArgumentPlaces(
    commandLine: .init(address: 0x1000, capacity: 4),
    environment: .init(address: 0x2000, capacity: 8, length: .init(address: 0x3000, base: 0x2000)))

  @Test func standWhereTheGuestLooks() throws {
    #expect(try places.segments(for: GuestArguments()).isEmpty)
    #expect(
      try places.segments(for: GuestArguments(commandLine: "abcd", environment: ["B": "2", "A": "1"])) == [
        GuestSegment(address: 0x1000, bytes: Array("abcd".utf8) + [0]),
        GuestSegment(address: 0x2000, bytes: Array("A=1\nB=2\n".utf8) + [0]),
        GuestSegment(address: 0x3000, bytes: [0x08, 0x20, 0, 0]),
      ])
    // Said to be nothing, which is something else than not said.
    #expect(
      try places.segments(for: GuestArguments(commandLine: "", environment: [:])).map(\.count) == [1, 1, 4])
  }

  struct Refusal: Sendable {
    var arguments: GuestArguments
    var error: GuestArgumentsError
  }

  @Test(arguments: [
    Refusal(
      arguments: GuestArguments(commandLine: "abcde"), error: .tooLong(what: "command line", bytes: 5, limit: 4)),
    Refusal(arguments: GuestArguments(commandLine: "\0"), error: .forbiddenByte(what: "command line")),
    Refusal(
      arguments: GuestArguments(environment: ["A": "123456"]), error: .tooLong(what: "environment", bytes: 9, limit: 8)),
    Refusal(arguments: GuestArguments(environment: ["": "1"]), error: .badName("")),
    Refusal(arguments: GuestArguments(environment: ["A=": "1"]), error: .badName("A=")),
    Refusal(arguments: GuestArguments(environment: ["A": "\n"]), error: .forbiddenByte(what: "environment")),
    Refusal(arguments: GuestArguments(environment: ["\n": ""]), error: .forbiddenByte(what: "environment")),
    Refusal(arguments: GuestArguments(environment: ["A": "\0"]), error: .forbiddenByte(what: "environment")),
  ])
  func refusesWhatTheGuestCouldNotRead(row: Refusal) {
    #expect(throws: row.error) { try places.segments(for: row.arguments) }
  }

  @Test func kindsWithoutHaveNone() {
    #expect(throws: GuestArgumentsError.noCommandLine) {
      try ArgumentPlaces().segments(for: GuestArguments(commandLine: ""))
    }
    #expect(throws: GuestArgumentsError.noEnvironment) {
      try ArgumentPlaces().segments(for: GuestArguments(environment: [:]))
    }
  }
}

struct RecognitionTests {
  private let code = ImagePart([0x90])

  @Test func machineCodeHasToBeCalledSo() throws {
    #expect(throws: ImageError.notRecognised) { try GuestImage(name: "a", ImageParts(main: code)) }
    #expect(throws: ImageError.noPlacement) { try GuestImage(name: "a", ImageParts(main: code), kind: .flat) }
    let parts = ImageParts(main: code, flat: FlatPlacement(mode: .long64))
    let image = try GuestImage(name: "a", parts, kind: .flat)
    #expect(image.name == "a")
    #expect(image.description.kind == .flat)
    let layout = try image.layout(memoryBytes: 1 << 20, vcpus: 1)
    #expect(layout.segments.last == GuestSegment(address: 0x10000, part: code))
  }

  @Test func machineCodeHasNoOtherParts() {
    let placement = FlatPlacement(mode: .long64)
    for (parts, part) in [
      (ImageParts(main: code, initramfs: code, flat: placement), "initramfs"),
      (ImageParts(main: code, blocks: ["disk": code], flat: placement), "block device"),
      (ImageParts(main: code, commandLine: "", flat: placement), "command line"),
    ] {
      #expect(throws: ImageError.unusedPart(part, .flat)) { try GuestImage(name: "a", parts, kind: .flat) }
    }
  }

  @Test func nobodyBringsABuiltinGuest() {
    #expect(throws: ImageError.notOfKind(.builtin)) {
      try GuestImage(name: "a", ImageParts(main: code), kind: .builtin)
    }
  }
}

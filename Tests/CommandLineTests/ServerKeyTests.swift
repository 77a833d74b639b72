import APIClient
import Access
import ArgumentParser
import CommandLineSupport
import Foundation
import Glibc
import JSONCodec
import TestSupport
import Testing

@testable import vmpool

/// Where a key comes from, and what is refused as one. The text of a key stands in no message.
@Suite struct ServerKeyTests {
  private let directory: ScratchDirectory
  private let key = KeyText.random().text

  init() throws { directory = try ScratchDirectory() }

  private func file(_ text: String, mode: mode_t = 0o600) throws -> String {
    let path = try directory.write(Data(text.utf8), to: "key")
    #expect(unsafe chmod(path, mode) == 0)
    return path
  }

  @Test(arguments: ["", "\n", "\r\n", "  \n\n"]) func blanksAroundAKeyDoNotMatter(end: String) throws {
    #expect(try ServerKey.inFile(file(end + key + end)) == key)
  }

  @Test(arguments: [0o600, 0o400, 0o640, 0o440, 0o700] as [mode_t]) func ownerAndGroupMayRead(mode: mode_t) throws {
    #expect(try ServerKey.inFile(file(key, mode: mode)) == key)
  }

  @Test(arguments: [0o644, 0o604, 0o602, 0o666] as [mode_t]) func aFileThatAllMayReadIsRefused(mode: mode_t) throws {
    let path = try file(key, mode: mode)
    let failure = #expect(throws: Failure.self) { try ServerKey.inFile(path) }
    #expect(failure?.status == ExitCode(65))
    #expect(failure?.message.contains("`chmod 600 \(path)`") == true)
    #expect(failure?.message.contains(key) == false)
  }

  @Test func whatIsNoKeyIsRefusedWithoutItsText() throws {
    var wrong = key
    wrong.removeLast(2)
    for text in ["", "secret", wrong + "aa", key + key, "Bearer " + key, key.uppercased()] {
      let failure = #expect(throws: Failure.self) { try ServerKey.inFile(file(text)) }
      #expect(failure?.status == ExitCode(65), "\(text)")
      #expect(failure?.message.contains("secret") == false)
      #expect(failure?.message.contains(wrong) == false)
    }
    #expect(throws: Failure.self) { try ServerKey.inFile(directory.path(of: "none")) }
  }

  @Test func aClientSaysNothingOfAKeyThatCannotBeSent() throws {
    for key in ["", "se\r\ncret", "se cret", "s\u{e9}cret"] {
      let error = #expect(throws: APIError.self) {
        try VMPoolClient(endpoint: .tcp(host: "localhost", port: 1), key: key)
      }
      #expect(error?.description.contains("cret") == false)
    }
  }

  @Test func aContextWithoutAKeyIsWrittenAsBefore() throws {
    var file = ContextFile()
    file.contexts["lab"] = .init(server: "unix:/s")
    #expect(
      String(decoding: try JSON.encode(file), as: UTF8.self)
        == #"{"current":null,"contexts":{"lab":{"server":"unix:/s"}}}"#)
    file.contexts["lab"] = .init(server: "unix:/s", key: "k", keyFile: "/f")
    #expect(try JSON.decode(ContextFile.self, from: JSON.encode(file)) == file)
  }
}

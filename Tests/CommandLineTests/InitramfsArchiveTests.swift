import CommandLineSupport
import Glibc
import LinuxSupport
import TestSupport
import Testing

@testable import vmpool

/// A directory as an initramfs.
@Suite struct InitramfsArchiveTests {
  /// An entry as it stands in an archive.
  private struct Entry: Equatable {
    var name: String
    var number: Int
    var mode: UInt32
    var owner: [Int]
    var links: Int
    var device: [Int]
    var bytes: [UInt8]
  }

  private let scratch: ScratchDirectory
  private var root: String { scratch.path + "/root" }

  init() throws {
    scratch = try ScratchDirectory()
    try unsafe make("root") { unsafe mkdir($0, 0o755) }
  }

  /// Makes something in the scratch directory by a system call, which returns 0.
  /// Safe for every caller: the path lives for the call.
  private func make(_ name: String, _ call: (UnsafePointer<CChar>) -> Int32) throws {
    let path = scratch.path(of: name)
    try #require(unsafe path.withCString { unsafe call($0) } == 0, "\(path): \(errorText(errno))")
  }

  private func write(_ name: String, _ bytes: [UInt8], mode: mode_t = 0o644) throws {
    try scratch.write(bytes, to: "root/" + name)
    try unsafe make("root/" + name) { unsafe chmod($0, mode) }
  }

  private func packed() throws -> [Entry] {
    let file = try InitramfsArchive.packed(root)
    var bytes = [UInt8](repeating: 0, count: Int(file.size))
    var span = bytes.mutableSpan
    var target = unsafe span.mutableBytes  // Safe: any bytes are valid elements.
    #expect(try file.read(at: 0, into: &target) == bytes.count)
    return entries(bytes)
  }

  /// Reads an archive as init/initramfs.c does.
  private func entries(_ bytes: [UInt8]) -> [Entry] {
    var (entries, offset): ([Entry], Int) = ([], 0)
    while offset < bytes.count {
      #expect(bytes[offset..<offset + 6].elementsEqual("070701".utf8))
      let fields = (0..<13).map { index in
        let start = offset + 6 + index * 8
        return Int(String(decoding: bytes[start..<start + 8], as: UTF8.self), radix: 16) ?? -1
      }
      let name = String(decoding: bytes[offset + 110..<offset + 109 + fields[11]], as: UTF8.self)
      let start = (offset + 110 + fields[11] + 3) & ~3
      entries.append(
        Entry(
          name: name, number: fields[0], mode: UInt32(fields[1]), owner: [fields[2], fields[3]], links: fields[4],
          device: [fields[9], fields[10]], bytes: Array(bytes[start..<start + fields[6]])))
      offset = (start + fields[6] + 3) & ~3
    }
    return entries
  }

  @Test func packsFilesAsTheyAre() throws {
    try write("init", Array("#!/bin/sh\n".utf8), mode: 0o755)
    try write("odd", [1, 2, 3, 4, 5], mode: 0o4711)
    try write("large", [UInt8](repeating: 7, count: 300_001))
    try unsafe make("root/a") { unsafe mkdir($0, 0o700) }
    try unsafe make("root/a/b") { unsafe mkdir($0, 0o777) }
    try unsafe make("root/a/b") { unsafe chmod($0, 0o1777) }
    try write("a/b/empty", [])
    try write("a-b", [9])
    try unsafe make("root/link") { unsafe symlink("/a/b/../target", $0) }
    try unsafe make("root/pipe") { unsafe mkfifo($0, 0o600) }
    let found = try packed()
    #expect(
      found.map(\.name)
        == [".", "a", "a-b", "a/b", "a/b/empty", "init", "large", "link", "odd", "pipe", "TRAILER!!!"])
    let modes = found.dropLast().map { String($0.mode, radix: 8) }
    #expect(
      modes == [
        "40755", "40700", "100644", "41777", "100644", "100755", "100644", "120777", "104711", "10600",
      ])
    #expect(found.first { $0.name == "large" }?.bytes == [UInt8](repeating: 7, count: 300_001))
    #expect(found.first { $0.name == "odd" }?.bytes == [1, 2, 3, 4, 5])
    #expect(found.first { $0.name == "link" }?.bytes == Array("/a/b/../target".utf8))
    // The user's own files are root's.
    #expect(found.allSatisfy { $0.owner == [0, 0] })
    #expect(Set(found.dropLast().map(\.number)).count == found.count - 1)
  }

  @Test(.enabled(if: geteuid() == 0, "only root can give files away and make devices"))
  func keepsOwnersAndDevices() throws {
    try write("theirs", [1])
    try unsafe make("root/theirs") { unsafe chown($0, 1000, 65_534) }
    try unsafe make("root/console") { unsafe mknod($0, S_IFCHR | 0o600, 5 << 8 | 1) }
    try unsafe make("root/disk") { unsafe mknod($0, S_IFBLK | 0o660, 254 << 8 | 0xFF | 0x345 << 20) }
    let found = try packed()
    #expect(found.first { $0.name == "theirs" }?.owner == [1000, 65_534])
    #expect(found.first { $0.name == "disk" }?.device == [254, 0x345FF])
    #expect(found.first { $0.name == "console" }?.device == [5, 1])
  }

  @Test func namesOfOneFileShareItsBytes() throws {
    try write("one", [1, 2, 3])
    for name in ["root/two", "outside"] { try unsafe make(name) { unsafe link(root + "/one", $0) } }
    let found = try packed().filter { ["one", "two"].contains($0.name) }
    #expect(found.map(\.bytes) == [[], [1, 2, 3]])
    #expect(found.map(\.links) == [2, 2])
    #expect(found[0].number == found[1].number)
  }

  @Test func equalDirectoriesMakeEqualArchives() throws {
    try write("a", [1])
    try write("b", [2])
    let file = try ImageFile.initramfs(root, namesProgram: true, limit: 0)
    #expect(try ImageFile.initramfs(root + "/", namesProgram: true, limit: 0).digest == file.digest)
    try unsafe make("root/a") { unsafe chmod($0, 0o600) }
    #expect(try ImageFile.initramfs(root, namesProgram: true, limit: 0).digest != file.digest)
  }

  @Test func refusesWhatAnArchiveCannotHold() throws {
    try write("huge", [])
    try unsafe make("root/huge") { unsafe truncate($0, 1 << 32) }
    let huge = #expect(throws: Failure.self) { try InitramfsArchive.packed(root) }
    #expect(huge?.status.rawValue == 65 && huge?.message.contains("/huge has 4294967296 bytes") == true)
    try unsafe make("root/huge") { unsafe unlink($0) }
    try write("old", [1])
    try unsafe make("root/old") {
      unsafe utimes($0, [timeval(tv_sec: -1, tv_usec: 0), timeval(tv_sec: -1, tv_usec: 0)])
    }
    let old = #expect(throws: Failure.self) { try InitramfsArchive.packed(root) }
    #expect(old?.status.rawValue == 65 && old?.message.contains("before 1970") == true)
    try unsafe make("root/old") { unsafe unlink($0) }
    try unsafe make("root/TRAILER!!!") { unsafe mkdir($0, 0o755) }
    let trailer = #expect(throws: Failure.self) { try InitramfsArchive.packed(root) }
    #expect(trailer?.status.rawValue == 65 && trailer?.message.contains("/TRAILER!!! has the name") == true)
    let missing = #expect(throws: Failure.self) { try InitramfsArchive.packed(root + "/none") }
    #expect(missing?.status.rawValue == 66)
  }

  @Test func aFileThatCannotBeOpenedIsToldWhy() throws {
    try write("file", [1])
    let entry = try #require(try ArchiveEntry.all(of: root).last)
    try unsafe make("root/file") { unsafe unlink($0) }
    let failure = #expect(throws: Failure.self) { try entry.open() }
    #expect(failure?.message.hasSuffix("/file cannot be read: No such file or directory") == true)
  }

  @Test func aTrailerBelowTheRootIsAFileLikeOthers() throws {
    try unsafe make("root/a") { unsafe mkdir($0, 0o755) }
    try write("a/TRAILER!!!", [1])
    #expect(try packed().map(\.name) == [".", "a", "a/TRAILER!!!", "TRAILER!!!"])
  }

  @Test func looksForTheFirstProgram() throws {
    #expect(!InitramfsArchive.hasInit(root))
    // It may lead to where only the guest finds something.
    try unsafe make("root/init") { unsafe symlink("/bin/init", $0) }
    #expect(InitramfsArchive.hasInit(root))
  }
}

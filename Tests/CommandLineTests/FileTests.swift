import APIModel
import ArgumentParser
import CommandLineSupport
import ServerConfiguration
import Testing

@testable import vmpool

/// What the client reads from files, and calls them.
@Suite struct FileTests {
  @Test(arguments: [
    ("boot/vmlinuz-6.1.0-18-amd64", "vmlinuz-6-1-0-18-amd64"),
    ("boot/vmlinuz-6.1.0-25-amd64", "vmlinuz-6-1-0-25-amd64"),
    ("Seven Times.bin", "seven-times"), ("disk.IMG", "disk"), ("kernel.elf.gz", "kernel"), ("a/b/hello.hvt", "hello"),
    (".elf", "image--elf"), ("7up", "image-7up"), ("x.1", "x-1"), ("bzImage", "bzimage"), ("", "image-"),
  ])
  func namesImages(path: String, name: String) {
    #expect(ImageName.of(path: path) == name)
  }

  @Test func copiesNoMoreOfADeviceThanTheLimit() throws {
    let error = #expect(throws: ExitCode.self) { try ImageFile("/dev/zero", limit: 1 << 20) }
    #expect(error == ExitCode(65))
    #expect(try ImageFile("/dev/null", limit: 0).file.size == 0)
  }

  private static let pool = PoolDocument(
    name: "p", image: "spin", vcpus: 2, memoryMiB: 4, ready: ReadyRange(min: 1, max: 3), maxVMs: 9, deadlineMS: 5000,
    refill: RefillDocument(concurrency: 2), paused: true, probeIntervalMS: 20, source: "api",
    status: PoolStatusDocument(
      ready: 1, outdated: 0, leased: 0, creating: 0, retiring: 0, quarantined: 0, waiting: 0, running: 0, paused: 0,
      stopped: 0, draining: false, refill: RefillStatusDocument(state: "ok")))

  @Test func passesOverWhatOnlyTheServerSets() throws {
    let bytes = Array(try OutputOptions.parse(["--json"]).text(Self.pool) { _ in "" }.utf8)
    #expect(try PoolSettings(PoolFile.declaration(bytes, of: "p")) == PoolSettings(Self.pool))
    let error = #expect(throws: Failure.self) { try PoolFile.declaration(bytes, of: "q") }
    #expect(error?.message.contains("declares p") == true)
    #expect(throws: (any Error).self) {
      try PoolFile.declaration(Array(#"{"image": "a", "ready": 1, "redy": 2}"#.utf8), of: "p")
    }
  }

  /// What `show --yaml` prints is what a configuration file says.
  @Test func writesDeclarationsAsTheyAreRead() throws {
    for pool in [Self.pool, Self.plain] {
      let text = PoolSettings(pool).yaml(name: "p")
      let read = try ConfigurationFile(parsing: Array(text.utf8), path: "test").pools
      #expect(read.map(\.name) == ["p"])
      #expect(read.map { PoolSettings($0.document) } == [PoolSettings(pool)], "\(text)")
    }
  }

  private static var plain: PoolDocument {
    var pool = pool
    (pool.maxVMs, pool.deadlineMS, pool.refill, pool.paused) = (nil, nil, RefillDocument(), false)
    (pool.ready, pool.probeIntervalMS) = (ReadyRange(0), nil)
    return pool
  }
}

import APIModel
import CommandLineSupport
import JSONCodec
import Testing

@testable import vmpool

@Suite struct OutputTests {
  private static let vm = VMDocument(
    id: "vm-1", pool: nil, image: "spin", state: "stopped", vcpus: 2, memoryMiB: 4,
    createdAt: "2025-01-31T12:00:00.000Z",
    consoleBytes: 18_446_744_073_709, stop: StopDocument(reason: "exited", exitCode: 7, detail: nil))

  @Test(
    arguments: [
      ("{{.id}}", "vm-1"), ("{{ .id }} {{.state}}", "vm-1 stopped"), (#"{{.id}}\t{{.vcpus}}\n"#, "vm-1\t2\n"),
      ("<{{.pool}}>", "<>"), ("{{.stop.exit_code}}", "7"), ("{{.stop.detail}}", ""), ("{{.pool.x}}", ""),
      ("{{.console_bytes}}", "18446744073709"), ("{{.stop}}", #"{"detail":null,"exit_code":7,"reason":"exited"}"#),
    ])
  func fillsTemplates(text: String, expected: String) throws {
    let template = try #require(Template(text))
    #expect(try template.text(of: AnyJSON(encoding: Self.vm)) == expected)
  }

  @Test(arguments: ["", "id", "{{.id", "{{id}}", "{{.}}", "{{..id}}", "{{.a.}}", "{{}}"])
  func refusesWhatIsNoTemplate(text: String) {
    #expect(Template(text) == nil)
  }

  @Test func namesTheMembersThereAre() throws {
    let template = try #require(Template("{{.stat}}"))
    let error = #expect(throws: Failure.self) { try template.text(of: AnyJSON(encoding: Self.vm)) }
    #expect(error?.message.contains("Did you mean .state?") == true && error?.message.contains(".image") == true)
    #expect(error?.status.rawValue == 64)
  }

  @Test(arguments: [#"{"a":[1,-2.5,true,null,"x\"y",{"b":[]}]}"#, "[]", "{}"])
  func keepsAnyJSON(text: String) throws {
    let value = try JSON.decode(AnyJSON.self, from: Array(text.utf8))
    #expect(String(decoding: try JSON.encode(value), as: UTF8.self) == text)
  }

  @Test(arguments: [
    (0, "0s"), (-5, "0s"), (59, "59s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_799, "47h"),
    (172_800, "2d"), (40_000_000, "462d"),
  ])
  func writesAges(seconds: Int, text: String) {
    #expect(humanised(age: seconds) == text)
  }

  @Test(arguments: [
    ("1970-01-01T00:00:00Z", 0), ("1970-01-02T00:00:01.999Z", 86_401), ("2000-02-29T12:00:00.000Z", 951_825_600),
    ("2024-12-31T23:59:59Z", 1_735_689_599), ("2025-03-01T00:00:00Z", 1_740_787_200),
    ("2100-03-01T00:00:00Z", 4_107_542_400),
  ])
  func readsInstants(text: String, seconds: Int) {
    #expect(Age.seconds(of: text) == seconds)
    #expect(Age.since(text, now: seconds + 90) == "90s")
    #expect(Age.until(text, now: seconds - 3 * 3600) == "3h")
  }

  @Test(arguments: ["", "soon", "2025-01-31", "2025-01-31T12:00:00", "2025-1-31T12:00:00Z"])
  func leavesOtherTextsAlone(text: String) {
    #expect(Age.since(text) == text)
  }

  @Test(arguments: [
    (UInt64(0), "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1536, "1.50 KiB"), (20 << 20, "20.0 MiB"),
    (3 << 30, "3.00 GiB"), (5 << 40, "5.00 TiB"),
  ])
  func writesSizes(bytes: UInt64, text: String) {
    #expect(humanised(bytes: bytes) == text)
  }

  @Test func shrinksWhatMayShrink() {
    var table = Table([.init("NAME", mayShrink: true), .init("N", alignment: .right), .init("TEXT", mayShrink: true)])
    table.add(["a-rather-long-name", "1000", "a text that is even longer than the name"])
    table.add(["b", "1", "short"])
    let lines = table.text(width: 40).split(separator: "\n")
    #expect(lines.map(\.count).max() == 40)
    #expect(lines[1] == "a-rather-lon…  1000  a text that is even…" || lines[1].contains("…"))
    // What cannot shrink any more is left.
    #expect(table.text(width: 10).split(separator: "\n").map(\.count).max() == 8 + 2 + 4 + 2 + 8)
    #expect(table.text(width: 200) == table.text)
  }

  /// The tables of usual names fit the usual terminal, without losing anything.
  @Test func tablesFitEightyColumns() {
    let lease = LeaseDocument(
      lease: "lease-0123456789abcdef", pool: "build", vm: "vm-0123456789ab4a60", fence: 123, labels: ["for": "run"],
      grantedAt: "2025-01-31T12:00:00.000Z", expiresAt: "2025-01-31T12:00:00.000Z",
      maxExpiresAt: "2025-01-31T12:00:00.000Z")
    let pool = PoolDocument(
      name: "integration", image: "debian", vcpus: 8, memoryMiB: 1024, ready: ReadyRange(100), maxVMs: nil,
      deadlineMS: nil,
      refill: RefillDocument(), paused: false, probeIntervalMS: nil, source: "api",
      status: PoolStatusDocument(
        ready: 100, outdated: 0, leased: 100, creating: 0, retiring: 0, quarantined: 0, waiting: 10, running: 0,
        paused: 0, stopped: 0, draining: true, refill: RefillStatusDocument(state: "backing_off")))
    var vm = Self.vm
    (vm.id, vm.pool, vm.image, vm.memoryMiB) = ("vm-0123456789ab4a60", "build", "debian", 1024)
    let kick = KickDocument(
      vm: "vm-0123456789ab4a60", vcpu: 0, generation: 123_456, mechanism: "immediate_exit", phase: "parked",
      coalesced: true, signalsSent: 1, latencyNS: 123_456, signalLatencyNS: 123_456)
    let blob = BlobDocument(
      digest: "sha256:" + String(repeating: "0", count: 64), sizeBytes: 1 << 29, images: ["debian", "other"],
      state: "complete")
    let tables = [
      VMsCommand.table([vm]), LeasesCommand.table([lease]), PoolsCommand.table([pool]), KickCommand.table([kick]),
      BlobsCommand.table([blob]),
    ]
    for table in tables {
      for line in table.text.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
    }
  }

  @Test(arguments: [(0, ""), (1, "c"), (2, "b\nc"), (3, "a\nb\nc"), (9, "a\nb\nc")])
  func takesTheLastLines(count: Int, text: String) {
    #expect(LogsCommand.lastLines(count, of: Array("a\nb\nc".utf8)) == Array(text.utf8))
    let ended = text.isEmpty ? "" : text + "\n"
    #expect(LogsCommand.lastLines(count, of: Array("a\nb\nc\n".utf8)) == Array(ended.utf8))
  }
}

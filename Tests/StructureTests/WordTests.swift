import Foundation
import Testing

/// The words that CONTRIBUTING.md keeps out of documents and public comments, since they hide who does what.
struct WordTests {
  /// How often the words stand in each file today. Rewrite the sentences and lower the number; it never grows, and a new
  /// file begins without.
  static let known: [String: Int] = [
    "ARCHITECTURE.md": 9,
    "CONTRIBUTING.md": 1,
    "README.md": 2,
    "Sources/APIModel/PoolDocuments.swift": 1,
    "Sources/Benchmarks/BenchmarkRun.swift": 1,
    "Sources/Benchmarks/CumulativePlot.swift": 1,
    "Sources/BlobStore/BlobDirectory.swift": 2,
    "Sources/BlobStore/BlobRepository.swift": 6,
    "Sources/BlobStore/BlobStoreError.swift": 1,
    "Sources/BlobStore/BlobUpload.swift": 1,
    "Sources/BlobStore/TemporaryDirectory.swift": 1,
    "Sources/HTTPServer/ClientWatch.swift": 3,
    "Sources/HTTPServer/HTTPHandler.swift": 1,
    "Sources/HTTPServer/HTTPServerConfiguration.swift": 1,
    "Sources/HTTPServer/HTTPStream.swift": 1,
    "Sources/HTTPServer/HeadScan.swift": 2,
    "Sources/HTTPServer/ListenAddress.swift": 1,
    "Sources/HTTPServer/ListenSocket.swift": 1,
    "Sources/HTTPServer/MicroHTTP.swift": 2,
    "Sources/HTTPServer/Suspension.swift": 2,
    "Sources/HTTPServer/Transfer.swift": 1,
    "Sources/JSONCodec/JSON.swift": 1,
    "Sources/JSONCodec/JSONDecodingError.swift": 1,
    "Sources/JSONCodec/Scalar.swift": 1,
    "Sources/KVM/CPUIDTable.swift": 1,
    "Sources/LinuxSupport/Clock.swift": 1,
    "Sources/LinuxSupport/EventCounter.swift": 1,
    "Sources/LinuxSupport/ProcessMemory.swift": 1,
    "Sources/MachineRuntime/Lifecycle.swift": 1,
    "Sources/MachineRuntime/Machine.swift": 1,
    "Sources/MachineRuntime/MachineErrors.swift": 1,
    "Sources/ManagementAPI/APIHandler.swift": 2,
    "Sources/ManagementAPI/Admission.swift": 2,
    "Sources/ManagementAPI/BlobRoutes.swift": 1,
    "Sources/ManagementAPI/EventHistory.swift": 1,
    "Sources/ManagementAPI/EventLog.swift": 3,
    "Sources/ManagementAPI/EventSubscription.swift": 1,
    "Sources/ManagementAPI/ImageCatalogue.swift": 1,
    "Sources/ManagementAPI/LeaseRoutes.swift": 1,
    "Sources/ManagementAPI/Problems.swift": 3,
    "Sources/ManagementAPI/RequestMetrics.swift": 1,
    "Sources/ManagementAPI/Route.swift": 1,
    "Sources/PoolManager/FleetTypes.swift": 1,
    "Sources/PoolManager/Leases.swift": 1,
    "Sources/StateStore/Idempotency.swift": 1,
    "Sources/StateStore/Records.swift": 1,
    "Sources/StateStore/Schema.swift": 1,
    "Sources/StateStore/StateDatabase.swift": 1,
    "Sources/StateStore/StateDirectory.swift": 1,
    "Sources/VCPURuntime/Documentation.docc/KickProtocol.md": 9,
    "Sources/VCPURuntime/VCPULoop.swift": 2,
    "docs/guests.md": 2,
    "docs/kick-latency.md": 1,
    "docs/runbook.md": 6,
    "openapi/vmpool.yaml": 18,
  ]

  @Test func noSentenceHidesItsActor() throws {
    for (path, text) in try Repository.prose() {
      let lines = Self.lines(in: text, of: path)
      let allowed = Self.known[path, default: 0]
      #expect(
        lines.count <= allowed,
        """
        \(path): \(lines.count) lines with words like "whoever" or "is told", of which there may be \(allowed): \
        \(lines.map { "\($0.number): \($0.text)" }.joined(separator: " | "))
        """)
    }
  }

  @Test func listNamesNoFileThatIsGone() throws {
    let paths = Set(try Repository.prose().map(\.path))
    #expect(Set(Self.known.keys).subtracting(paths).isEmpty)
  }

  @Test(arguments: [
    ("Whoever waits is woken.", 1), ("Nobody and somebody.\nwhatever", 2), ("What is none is refused.", 1),
    ("The client is told, and the log tells.", 1), ("Tell it to the guest; the teller sees nothing.", 0),
  ])
  func findsTheWords(text: String, count: Int) {
    #expect(Self.lines(in: text, of: "a.md").count == count)
  }

  /// The lines with one of the words: of a source file, among its documentation comments.
  private static func lines(in text: String, of path: String) -> [(number: Int, text: String)] {
    // Of the reference's own making: a regular expression cannot be kept in a constant that threads share.
    let words = /\b(whoever|whomever|whatever|somebody|nobody|what is none|(is|are|be|been|was|were) told|tells)\b/
      .ignoresCase()
    var found: [(number: Int, text: String)] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let trimmed = line.drop(while: \.isWhitespace)
      if path.hasSuffix(".swift"), !trimmed.hasPrefix("///") { continue }
      if trimmed.contains(words) { found.append((index + 1, String(trimmed))) }
    }
    return found
  }
}

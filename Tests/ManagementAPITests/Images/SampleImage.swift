import Digests

/// A suite that stores an image: any bytes are machine code.
protocol SampleImage {}

extension SampleImage {
  var code: [UInt8] { (0..<5000).map { UInt8(truncatingIfNeeded: $0 * 7) } }
  var digest: SHA256Digest { SHA256Digest(of: code) }
  /// The query of its plain upload.
  var flat: String { "kind=flat&mode=long64&load_address=0x20000" }

  func manifest(_ members: String = "") -> String {
    #"{"kind": "flat", "mode": "long64", "kernel": "\#(digest)"\#(members)}"#
  }

  func json(_ more: [(String, String)] = []) -> [(String, String)] {
    [("Host", "localhost:8080"), ("Content-Type", "application/json")] + more
  }
}

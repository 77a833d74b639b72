import Foundation
import GuestImages
import KVM
import Testing

@testable import MachineRuntime

private let upstreamFolder = ProcessInfo.processInfo.environment["VMPOOL_SOLO5_TESTS"].map { URL(filePath: $0) }

/// Solo5's own test unikernels, where VMPOOL_SOLO5_TESTS names a folder that has them (`test_hello.hvt` and so on, as
/// Solo5's build leaves them).
@Suite(.serialized, .enabled(if: RealVM.isAvailable && upstreamFolder != nil)) struct UpstreamSolo5Tests {
  struct Run: Sendable, CustomTestStringConvertible {
    let name: String
    var commandLine = ""
    var blocks: [String: [UInt8]] = [:]
    var stop = MachineStop.guest(.exited(code: 0))
    var output = "SUCCESS\n"
    /// Whether it executes what a host that emulates kernel code does not know.
    var needsRealRing0 = false
    var testDescription: String { name }
  }

  static let runs = [
    Run(name: "hello", commandLine: "Hello_Solo5"),
    Run(name: "quiet", commandLine: "--solo5:quiet"),
    Run(name: "output", commandLine: "Output_Solo5", output: "(4143 characters)\n"),
    Run(name: "globals"),
    Run(name: "tls"),
    Run(name: "fpu", needsRealRing0: true),
    Run(name: "time"),
    Run(name: "blk", blocks: ["storage": [UInt8](repeating: 0, count: 1 << 20)]),
    Run(name: "exception", stop: .guest(.exited(code: 255)), output: "Solo5: ABORT"),
    Run(name: "zeropage", stop: .guest(.exited(code: 255)), output: "Solo5: ABORT"),
    Run(name: "notls", stop: .guest(.exited(code: 255)), output: "Solo5: ABORT"),
    Run(name: "ssp", stop: .guest(.exited(code: 255)), output: "Solo5: ABORT: Stack corruption detected"),
    Run(name: "dumpcore", stop: .guest(.exited(code: 255)), output: "Solo5: solo5_abort"),
    // What a segment does not allow is a page fault here, which the unikernel reports.
    Run(name: "rnow", stop: .guest(.exited(code: 255)), output: "#PF"),
    Run(name: "xnow", stop: .guest(.exited(code: 255)), output: "#PF"),
    Run(name: "rnox", stop: .guest(.exited(code: 255)), output: "#PF"),
    Run(name: "wnox", stop: .guest(.exited(code: 255)), output: "#PF"),
    // Page tables cannot forbid to read what may be executed.
    Run(name: "xnor", stop: .guest(.exited(code: 1)), output: "executable address read\nFAILURE"),
  ]

  private func image(_ name: String, _ parts: (ImagePart) -> ImageParts) throws -> GuestImage {
    let file = try Data(contentsOf: #require(upstreamFolder).appending(path: "test_\(name).hvt"))
    return try GuestImage(name: name, parts(ImagePart([UInt8](file))))
  }

  @Test(arguments: runs) func endsAsItShould(_ run: Run) throws {
    if run.needsRealRing0 && KVMSystem.emulatesRing0 {
      return print("SKIPPED: test_\(run.name): kernel code is emulated on this host")
    }
    let image = try image(run.name) { main in
      ImageParts(main: main, blocks: run.blocks.mapValues { ImagePart($0) }, commandLine: run.commandLine)
    }
    let (output, stop) = try Solo5Guests.run(image, memoryMiB: 4)
    #expect(stop == run.stop)
    #expect(output.contains(run.output))
  }

  @Test func networkDevicesAreRefusedByName() throws {
    for name in ["net", "net_2if", "net_mtu", "mft_maxdevices"] {
      #expect {
        try image(name) { ImageParts(main: $0) }
      } throws: { error in
        guard case .solo5(.networkDevice) = error as? ImageError else {
          if case .solo5(.blockMissing) = error as? ImageError { return name == "mft_maxdevices" }
          return false
        }
        return true
      }
    }
  }

  @Test func otherTargetsAreRefusedByName() throws {
    let file = try Data(contentsOf: #require(upstreamFolder).appending(path: "test_hello.spt"))
    #expect(throws: ImageError.solo5(.foreignTarget("spt"))) {
      try GuestImage(name: "spt", ImageParts(main: ImagePart([UInt8](file))))
    }
  }
}

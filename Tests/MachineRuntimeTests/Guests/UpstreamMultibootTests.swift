import Foundation
import GuestImages
import KVM
import Testing

@testable import MachineRuntime

private let upstreamFolder = ProcessInfo.processInfo.environment["VMPOOL_KVM_UNIT_TESTS"].map { URL(filePath: $0) }

/// kvm-unit-tests, where VMPOOL_KVM_UNIT_TESTS names a folder that has them (`dummy.flat` and so on, as their build
/// leaves them). Those for 32 bits are fewer.
@Suite(.serialized, .enabled(if: RealVM.isAvailable && upstreamFolder != nil)) struct UpstreamMultibootTests {
  struct Run: Sendable, CustomTestStringConvertible {
    let name: String
    var commandLine: String?
    var environment: [String: String]?
    var vcpus = 1
    var memoryMiB = 64
    /// What it prints, among other things.
    var output = "enabling apic"
    /// Whether it executes what a host that emulates kernel code does not know, or does not do in time.
    var needsRealRing0 = false
    var testDescription: String { "\(name) \(commandLine ?? "")" }
  }

  static let runs = [
    Run(name: "dummy"),
    Run(name: "dummy", vcpus: 8),
    // It says which names it does not like, so it has seen them.
    Run(
      name: "dummy", environment: ["A-B": "1", "NR_CPUS": "2"], vcpus: 2, output: "Invalid environment variable: A-B=1"),
    Run(name: "setjmp"),
    Run(name: "smptest", vcpus: 3),
    Run(name: "idt_test"),
    Run(name: "hypercall", needsRealRing0: true),
    Run(name: "syscall", needsRealRing0: true),
    Run(name: "tsc", needsRealRing0: true),
    Run(name: "tsc_adjust", needsRealRing0: true),
    Run(name: "rmap_chain", needsRealRing0: true),
    Run(name: "memory", needsRealRing0: true),
    Run(name: "eventinj", needsRealRing0: true),
    Run(name: "umip", needsRealRing0: true),
    Run(name: "pcid", needsRealRing0: true),
    Run(name: "rdpru", needsRealRing0: true),
    Run(name: "vmexit", commandLine: "cpuid", needsRealRing0: true),
    Run(name: "vmexit", commandLine: "vmcall", needsRealRing0: true),
    Run(name: "vmexit", commandLine: "inl_from_pmtimer", needsRealRing0: true),
    Run(name: "vmexit", commandLine: "ipi", vcpus: 2, needsRealRing0: true),
  ]

  @Test(arguments: runs) func passes(_ run: Run) throws {
    if run.needsRealRing0 && KVMSystem.emulatesRing0 {
      return print("SKIPPED: \(run.testDescription): kernel code is emulated on this host")
    }
    let path = try #require(upstreamFolder).appending(path: run.name + ".flat")
    guard FileManager.default.fileExists(atPath: path.path) else {
      return print("SKIPPED: \(run.testDescription): there is no \(path.path)")
    }
    let file = try Data(contentsOf: path)
    let image = try GuestImage(name: run.name, ImageParts(main: ImagePart([UInt8](file))))
    #expect(image.description.kind == .multiboot)
    let changes = Changes()
    let machine = try RealVM.make(image, vcpus: run.vcpus, memoryMiB: run.memoryMiB, changes: changes)
    defer { machine.destroy() }
    try machine.setArguments(GuestArguments(commandLine: run.commandLine, environment: run.environment))
    try machine.start(untilNS: RealVM.soon)
    let stop = changes.waitForStop()
    let output = String(decoding: machine.console.read(from: 0, limit: .max).bytes, as: UTF8.self)
    #expect(stop == .guest(.exited(code: 0)), "\(output)")
    #expect(output.contains(run.output) && !output.contains("FAIL"), "\(output)")
  }
}

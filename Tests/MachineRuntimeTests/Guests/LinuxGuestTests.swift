import ComparedKicks
import Foundation
import GuestImages
import KVM
import LinuxSupport
import Testing
import VCPURuntime

@testable import MachineRuntime

/// A Linux guest made by Tests/Lab/guest-kernel, on a KVM that runs ring 0: in the lab, or on a stock host.
enum LinuxGuest {
  /// Its kernel and initramfs, by VMPOOL_LINUX_KERNEL and VMPOOL_LINUX_INITRAMFS; nil, said loudly, where they are not
  /// given or cannot run.
  static let files: (kernel: String, initramfs: String)? = {
    let environment = ProcessInfo.processInfo.environment
    guard let kernel = environment["VMPOOL_LINUX_KERNEL"], let initramfs = environment["VMPOOL_LINUX_INITRAMFS"] else {
      return skip("VMPOOL_LINUX_KERNEL and VMPOOL_LINUX_INITRAMFS are not set; Tests/Lab/run sets them")
    }
    if KVMSystem.emulatesRing0 { return skip("this host's KVM emulates ring 0; Tests/Lab/run has one that does not") }
    return RealVM.isAvailable ? (kernel, initramfs) : nil
  }()

  private static func skip(_ reason: String) -> (String, String)? {
    FileHandle.standardError.write(Data("SKIPPED: tests with a Linux guest: \(reason)\n".utf8))
    return nil
  }

  /// Without XSAVE: the lab's processor lets a guest set XCR0 without telling KVM, and the kernel then warns of sizes.
  static let commandLine = "console=ttyS0 panic=-1 noxsave"

  /// The bzImage, or the `vmlinux` that Tests/Lab/unpack-kernel puts beside it.
  static func image(commandLine: String, isUnpacked: Bool = false) throws -> GuestImage {
    let (kernel, initramfs) = try #require(files)
    let file = isUnpacked ? URL(filePath: kernel).deletingLastPathComponent().appending(path: "vmlinux").path : kernel
    let parts = ImageParts(
      main: ImagePart(FileBytes(try ReadableFile(path: file), identity: "kernel")),
      initramfs: ImagePart(FileBytes(try ReadableFile(path: initramfs), identity: "initramfs")),
      commandLine: commandLine)
    return try GuestImage(name: "linux", parts)
  }
}

/// A Linux guest and what it has said.
private final class BootedGuest {
  let machine: Machine
  let changes = Changes()
  private var output = ""
  private var next: UInt64 = 0

  init(
    vcpus: Int, commandLine: String = LinuxGuest.commandLine, mechanism: ComparedMechanism = .immediateExit,
    isUnpacked: Bool = false
  ) throws {
    machine = try RealVM.make(
      try LinuxGuest.image(commandLine: commandLine, isUnpacked: isUnpacked), vcpus: vcpus, memoryMiB: 192,
      mechanism: mechanism, changes: changes)
  }

  deinit { machine.destroy() }

  /// Reads the console; true when it has said `text`.
  func hasSaid(_ text: String) -> Bool {
    let (bytes, _, next) = machine.console.read(from: next, limit: .max)
    self.next = next
    output += String(decoding: bytes, as: UTF8.self)
    return output.contains(text)
  }

  /// Waits until it has said `text`, for two minutes at most; meanwhile does `meanwhile`, over and over.
  func wait(for text: String, _ meanwhile: () throws -> Void = { usleep(10_000) }) throws {
    let end = MonotonicClock.now() + 120_000_000_000
    while !hasSaid(text) {
      if case .stopped(let stop) = machine.state {
        _ = hasSaid(text)
        Issue.record("it stopped (\(stop)) before it said \(text); it had said:\n\(output.suffix(2000))")
        throw CancellationError()
      }
      guard MonotonicClock.now() < end else {
        Issue.record("it has not said \(text); it has said:\n\(output.suffix(2000))\n\(try whereItStands())")
        throw CancellationError()
      }
      try meanwhile()
    }
  }

  /// What its vCPUs are at, for whoever wonders why it stands still; pauses it.
  private func whereItStands() throws -> String {
    let exits = machine.counts.exits
    try machine.pause(untilNS: RealVM.soon)
    let vcpus = try machine.vcpuStatistics.indices.map { index in
      let registers = try machine.registers(vcpu: index, untilNS: RealVM.soon).0.named
      return "vCPU \(index): " + registers.map { "\($0.name) \(String($0.value, radix: 16))" }.joined(separator: " ")
    }
    return (["exits \(exits)"] + vcpus).joined(separator: "\n")
  }

  func say(_ text: String) throws { #expect(try machine.offerInput(Array(text.utf8)) == text.utf8.count) }
}

@Suite(.serialized, .enabled(if: LinuxGuest.files != nil)) struct LinuxGuestTests {
  @Test(arguments: [1, 2, 4]) func bootsEchoesAndPowersOff(vcpus: Int) throws {
    let guest = try BootedGuest(vcpus: vcpus)
    try guest.machine.setArguments(GuestArguments(commandLine: LinuxGuest.commandLine + " told=so"))
    try guest.machine.start(untilNS: RealVM.soon)
    try guest.wait(for: "guest: ready")
    #expect(guest.hasSaid("guest: processors \(vcpus)"))
    #expect(guest.hasSaid("told=so"))
    try guest.say("hello\n")
    try guest.wait(for: "echo: hello")
    // Longer than the port's FIFO, so that the guest is interrupted for more than one batch.
    let long = String(repeating: "0123456789", count: 20)
    try guest.say(long + "\n")
    try guest.wait(for: "echo: " + long)
    try guest.say("off\n")
    #expect(guest.changes.waitForStop() == .guest(.poweredOff))
  }

  /// An ELF file as the kernel's build leaves it, taken for what it is by its bytes.
  @Test func bootsAVmlinux() throws {
    let guest = try BootedGuest(vcpus: 2, isUnpacked: true)
    #expect(guest.machine.configuration.image.description.kind == .linux)
    try guest.machine.start(untilNS: RealVM.soon)
    try guest.wait(for: "guest: ready")
    #expect(guest.hasSaid("guest: processors 2"))
    try guest.say("off\n")
    #expect(guest.changes.waitForStop() == .guest(.poweredOff))
  }

  /// By ACPI, the keyboard controller and the chipset's port.
  @Test(arguments: ["reboot=a", "reboot=k", "reboot=p"]) func resets(how: String) throws {
    let guest = try BootedGuest(vcpus: 1, commandLine: LinuxGuest.commandLine + " quiet " + how)
    try guest.machine.start(untilNS: RealVM.soon)
    try guest.wait(for: "guest: ready")
    try guest.say("reboot\n")
    #expect(guest.changes.waitForStop() == .guest(.reset))
  }

  /// A busy guest that stood still for longer than its watchdog bears is told so: it reports no lockup, and does not panic.
  /// The guest lowers its watchdog's limit to two seconds.
  @Test func aBusyGuestTakesNoPauseForALockup() throws {
    let guest = try BootedGuest(vcpus: 1, commandLine: LinuxGuest.commandLine + " softlockup_panic=1")
    let machine = guest.machine
    try machine.start(untilNS: RealVM.soon)
    try guest.wait(for: "guest: ready")
    try guest.say("busy\n")
    try guest.wait(for: "guest: turn 2.")
    for turn in [4, 6] {
      try machine.pause(untilNS: RealVM.soon)
      // What is tested is that time passes.
      MonotonicClock.sleep(untilNS: MonotonicClock.now() + 6_000_000_000)
      try machine.resume(untilNS: RealVM.soon)
      try guest.wait(for: "guest: turn \(turn).")
    }
    #expect(!guest.hasSaid("BUG: soft lockup"))
    #expect(machine.counts.exits["error", default: 0] <= 1)
  }

  /// Other monitors hang when a VM is stopped and resumed in the wrong moment of its boot.
  @Test(arguments: [(1, ComparedMechanism.signalMask), (2, .immediateExit), (2, .ipFixup)])
  func pausesResumesAndKicksWhileItBoots(vcpus: Int, mechanism: ComparedMechanism) throws {
    let guest = try BootedGuest(vcpus: vcpus, mechanism: mechanism)
    let machine = guest.machine
    try machine.start(untilNS: RealVM.soon)
    var pauses = 0
    try guest.wait(for: "guest: ready") {
      try machine.pause(untilNS: RealVM.soon)
      for vcpu in 0..<vcpus { _ = try machine.registers(vcpu: vcpu, untilNS: RealVM.soon) }
      try machine.resume(untilNS: RealVM.soon)
      _ = try machine.requestKicks(vcpu: nil).wait(untilNS: RealVM.soon)
      pauses += 1
    }
    #expect(pauses >= 200)
    #expect(guest.hasSaid("guest: processors \(vcpus)"))
    try guest.say("off\n")
    #expect(guest.changes.waitForStop() == .guest(.poweredOff))
    let counts = machine.counts
    #expect(counts.exits["error", default: 0] <= UInt64(vcpus))
  }
}

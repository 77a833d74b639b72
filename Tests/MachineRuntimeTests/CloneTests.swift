import ComparedKicks
import GuestImages
import LinuxSupport
import TestSupport
import Testing
import VCPURuntime

@testable import MachineRuntime

/// Clones go on from where their template was frozen, and a reset takes them back there: nothing of one run is left for the
/// next.
@Suite(.serialized, .enabled(if: RealVM.isAvailable)) struct CloneTests {
  /// A canary guest (`Tests/Guests/canary.s`) that has come to its loop, frozen.
  private static func canary() throws -> MachineTemplate {
    let machine = try RealVM.make(
      .flat(FlatImage(mode: .long64Ring3, code: try BuiltGuest.bytes("canary"))), memoryMiB: 4)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    try waitUntil("the guest is ready") { machine.text == "ready" }
    try machine.pause(untilNS: RealVM.soon)
    return try machine.freeze(untilNS: RealVM.soon)
  }

  private func clone(_ template: MachineTemplate, changes: Changes = Changes()) throws -> Machine {
    try Machine(cloning: template, on: RealVM.system.get()) { changes.append($0) }
  }

  @Test func clonesGoOnFromTheTemplateAndDoNotSeeEachOther() throws {
    let template = try Self.canary()
    let clones = try (0..<3).map { _ in try clone(template) }
    defer { for clone in clones { clone.destroy() } }
    for clone in clones {
      #expect(clone.state == .ready)
      try clone.expectTemplate()
      try clone.start(untilNS: RealVM.soon)
    }
    try clones[0].ask("A", "readyw")
    try clones[1].ask("?", "ready.")
    try clones[0].ask("?", "readywA")
    try clones[2].ask("?", "ready.")
  }

  /// A tenant leaves a secret wherever it can; after the reset, the next one looks for it.
  @Test func aResetLeavesNothing() throws {
    let changes = Changes()
    let machine = try clone(Self.canary(), changes: changes)
    defer { machine.destroy() }
    for round in 0..<50 {
      try machine.start(untilNS: RealVM.soon)
      try machine.ask("?", "ready.")
      try machine.ask("S", "ready.w")
      try machine.ask("?", "ready.wS")
      // What the guest has not read yet is left as well.
      if round % 2 == 0 { _ = try machine.offerInput(Array("left".utf8)) }
      try machine.stop(untilNS: RealVM.soon)
      let pages = try machine.reset()
      #expect(pages >= 128)
      #expect(machine.state == .ready)
      try machine.expectTemplate()
      #expect(machine.text == "ready")
    }
  }

  /// The comparison is able to find a difference of each kind.
  @Test func differencesAreFound() throws {
    let machine = try clone(Self.canary())
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    try machine.ask("S", "readyw")
    try machine.stop(untilNS: RealVM.soon)
    let found = try machine.differences(untilNS: RealVM.soon)
    for kind in ["vCPU 0: generalRegisters", "memory at 0x100000", "device com1", "console"] {
      #expect(found.contains(kind), "\(found)")
    }
  }

  /// A VM can also be frozen before it was started: its clones run as it would have.
  @Test func aLoadedVMIsATemplateToo() throws {
    let loaded = try RealVM.make("hello")
    let template = try loaded.freeze(untilNS: RealVM.soon)
    loaded.destroy()
    let changes = Changes()
    let machine = try clone(template, changes: changes)
    defer { machine.destroy() }
    for _ in 0..<3 {
      try machine.start(untilNS: RealVM.soon)
      #expect(changes.waitForStop() == .guest(.exited(code: 0)))
      #expect(machine.text == "Hello from vmpool\n")
      _ = try machine.reset()
      try machine.expectTemplate()
      #expect(machine.text == "")
    }
  }

  /// A guest that has read its arguments cannot be told others.
  @Test func onlyAClonesGuestThatWasNotStartedIsToldAnything() throws {
    let told = GuestArguments(commandLine: "x")
    let started = try clone(Self.canary())
    defer { started.destroy() }
    #expect(throws: MachineControlError.arguments(.hasStarted(what: "command line"))) { try started.setArguments(told) }
    try started.setArguments(GuestArguments())
    let loaded = try RealVM.make("hello")
    let copy = try clone(loaded.freeze(untilNS: RealVM.soon))
    loaded.destroy()
    defer { copy.destroy() }
    #expect(throws: MachineControlError.arguments(.noCommandLine)) { try copy.setArguments(told) }
  }

  /// Frozen wherever a pause catches it, also between an access and its completion: the count in RBX goes on by ones.
  @Test(arguments: ComparedMechanism.sound) func aTemplateIsTakenAtEveryPlace(_ mechanism: ComparedMechanism) throws {
    let machine = try RealVM.make("pio", mechanism: mechanism)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    for _ in 0..<20 {
      try machine.pause(untilNS: RealVM.soon)
      let before = try machine.registers(vcpu: 0, untilNS: RealVM.soon).0.rbx
      let copy = try clone(try machine.freeze(untilNS: RealVM.soon))
      defer { copy.destroy() }
      try copy.start(untilNS: RealVM.soon)
      try waitUntil("the clone makes exits") { copy.counts.exits["io", default: 0] >= 3 }
      try copy.pause(untilNS: RealVM.soon)
      let made = copy.counts.exits["io", default: 0]
      #expect(try copy.registers(vcpu: 0, untilNS: RealVM.soon).0.rbx.distance(to: before + made).magnitude <= 1)
      try machine.resume(untilNS: RealVM.soon)
    }
  }

  @Test func whatCannotBeFrozenOrResetIsRefused() throws {
    let machine = try RealVM.make("spin")
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    #expect(throws: MachineTemplateError.self) { try machine.freeze(untilNS: RealVM.soon) }
    try machine.stop(untilNS: RealVM.soon)
    #expect(throws: MachineTemplateError.self) { try machine.freeze(untilNS: RealVM.soon) }
    #expect(throws: MachineTemplateError.self) { try machine.reset() }
    let copy = try clone(Self.canary())
    try copy.start(untilNS: RealVM.soon)
    #expect(throws: MachineTemplateError.self) { try copy.reset() }
    copy.destroy()
    #expect(throws: MachineTemplateError.self) { try copy.reset() }
  }
}

extension Machine {
  /// Fails, and says in what, where it differs from its template.
  fileprivate func expectTemplate() throws {
    let found = try differences(untilNS: RealVM.soon)
    #expect(found.isEmpty, "\(found)")
  }

  /// What its guest has printed.
  fileprivate var text: String { String(decoding: console.read(from: 0, limit: 4096).bytes, as: UTF8.self) }

  /// Gives the guest a byte of input, and waits for the byte that it prints: it then has printed `answer` in all.
  fileprivate func ask(_ input: String, _ answer: String) throws {
    let before = text
    _ = try offerInput(Array(input.utf8))
    try waitUntil("the guest answers \(input)") { self.text != before }
    try #require(self.text == answer)
  }
}

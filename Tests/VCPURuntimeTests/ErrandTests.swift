import ComparedKicks
import Dispatch
import Glibc
import GuestImages
import KVM
import LinuxSupport
import Synchronization
import Testing

@testable import VCPURuntime

/// Work that a vCPU's thread does for others.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct ErrandTests {
  /// Done on the vCPU's own thread while it is ready, paused or stopped; passed over while it runs; refused at the end.
  @Test(arguments: ComparedMechanism.sound) func errandsAreDoneWhileTheVCPUIsParked(_ mechanism: ComparedMechanism)
    throws
  {
    let own = Atomic<UInt>(0)
    let recorder = Recorder { _, _ in
      own.store(UInt(pthread_self()), ordering: .relaxed)
      return .resume
    }
    let running = try RunningVCPU(guest: "pio", mechanism: mechanism, handler: recorder)
    defer { running.close() }
    let doers = Mutex<[UInt]>([])
    func send() throws -> Int {
      let before = doers.withLock { $0.count }
      let ticket = try running.vcpu.request { _ in doers.withLock { $0.append(UInt(pthread_self())) } }
      _ = try running.vcpu.wait(for: ticket, untilNS: soon)
      return doers.withLock { $0.count } - before
    }
    #expect(try send() == 1)
    try running.become(.run)
    try waitUntil("the guest runs") { own.load(ordering: .relaxed) != 0 }
    #expect(try send() == 0)
    #expect(try running.vcpu.registers() == nil)
    for _ in 0..<50 {
      try running.become(.pause)
      #expect(try send() == 1)
      try running.become(.run)
    }
    try running.become(.stop)
    #expect(try send() == 1)
    #expect(doers.withLock { $0.allSatisfy { $0 == UInt(own.load(ordering: .relaxed)) } })
    running.vcpu.join()
    #expect(throws: KickError.ended) { try send() }
    #expect(running.vcpu.errands.withLock { $0.waiting.isEmpty })
  }

  /// Pitfall 3: an answer is one's own. The thread is held after it has taken one request and before it answers; a second
  /// one comes; the first's answer is not the second's.
  @Test func theAnswerToOneRequestIsNotTakenForTheNext() throws {
    let running = try RunningVCPU(guest: "spin")
    defer { running.close() }
    let errands = HeldErrands()
    defer { errands.letGo(400) }
    for _ in 0..<100 {
      let first = try errands.request(of: running.vcpu)
      try errands.waitForEntry()
      let second = try errands.request(of: running.vcpu)
      #expect(throws: KickError.self) { try running.vcpu.wait(for: first, untilNS: 0) }
      errands.letGo()
      _ = try running.vcpu.wait(for: first, untilNS: soon, resends: false)
      try errands.waitForEntry()
      #expect(throws: KickError.self) { try running.vcpu.wait(for: second, untilNS: 0) }
      #expect(running.vcpu.control.served.generation == first.generation)
      errands.letGo()
      _ = try running.vcpu.wait(for: second, untilNS: soon, resends: false)
    }
  }

  /// Pitfall 16: requests to a vCPU that is about to go to sleep: each comes while the thread, having answered the one
  /// before, is on its way there. Nothing is sent again, so a wake-up that is lost stays lost.
  @Test(arguments: ComparedMechanism.sound) func aVCPUThatGoesToSleepMissesNoWakeUp(_ mechanism: ComparedMechanism)
    throws
  {
    let running = try RunningVCPU(guest: "spin", mechanism: mechanism)
    defer { running.close() }
    for round in 0..<30_000 {
      let ticket = try running.vcpu.request(goal: .pause)
      _ = try running.vcpu.wait(for: ticket, untilNS: soon, resends: false)
      // From none to a few hundred nanoseconds: the way from the answer to the bed.
      for _ in 0..<round % 64 { _ = running.vcpu.state }
    }
  }

  /// A read by which the guest ended one run is not completed into the registers with which the next begins: the guest
  /// reads again, and does not go on behind the read.
  @Test(arguments: ComparedMechanism.sound) func aRunBeginsWithTheRegistersThatWerePutBack(
    _ mechanism: ComparedMechanism
  ) throws {
    // mov $0xD0000000, %edi; mov (%rdi), %eax; mov $7, %al; out %al, $0xF4
    let code: [UInt8] = [0xBF, 0, 0, 0, 0xD0, 0x8B, 0x07, 0xB0, 7, 0xE6, 0xF4]
    let recorder = Recorder(afterMemoryRead: .end) { _, _ in .end }
    let running = try RunningVCPU(
      .flat(FlatImage(mode: .long64Ring3, code: code)), mechanism: mechanism, handler: recorder)
    defer { running.close() }
    let saving = try running.vcpu.request(resultOf: { (descriptor, _) throws(KVMError) in
      try descriptor.checkpoint(hasIRQChip: false)
    })
    _ = try running.vcpu.wait(for: saving.ticket, untilNS: soon)
    let saved = try #require(try saving.get())
    for run in 1...10 {
      try running.become(.run)
      try waitUntil("the guest ends") { recorder.stops.count == run }
      try running.become(.stop)
      #expect(recorder.parkedRuns.count == run)
      let isDone = try running.vcpu.replaceRegisters { (descriptor) throws(KVMError) in try descriptor.restore(saved) }
      #expect(isDone)
      try running.become(.ready)
    }
    #expect(recorder.stops == Array(repeating: .exited(code: 0), count: 10))
    running.vcpu.join()
    #expect(try running.vcpu.replaceRegisters { (_) throws(KVMError) in } == false)
  }

  /// Without an interrupt controller of the kernel's the task priority stands beside the registers: each run begins with that
  /// of the first.
  @Test func aRunBeginsWithTheTaskPriorityOfTheFirst() throws {
    // mov $5, %eax; mov %rax, %cr8; out %al, $0xF4
    let code: [UInt8] = [0xB8, 5, 0, 0, 0, 0x44, 0x0F, 0x22, 0xC0, 0xE6, 0xF4]
    let recorder = Recorder { _, _ in .end }
    let running = try RunningVCPU(.flat(FlatImage(mode: .long64, code: code)), handler: recorder)
    defer { running.close() }
    func priority() throws -> UInt64? {
      let asked = try running.vcpu.request(resultOf: { (_, loop) throws(KVMError) in loop.taskPriority })
      _ = try running.vcpu.wait(for: asked.ticket, untilNS: soon)
      return try asked.get()
    }
    #expect(try priority() == 0)
    try running.become(.run)
    try waitUntil("the guest ends") { !recorder.stops.isEmpty }
    try running.become(.stop)
    #expect(try priority() == 5)
    try running.become(.ready)
    #expect(try priority() == 0)
  }

  /// On a KVM that runs ring 0, a guest without an interrupt controller of the kernel's that lowers CR8 leaves with
  /// KVM_EXIT_SET_TPR, and goes on.
  @Test func aGuestThatLowersCR8GoesOn() throws {
    // mov $5, %eax; mov %rax, %cr8; xor %eax, %eax; mov %rax, %cr8; mov $7, %al; out %al, $0xF4
    let code: [UInt8] = [
      0xB8, 5, 0, 0, 0, 0x44, 0x0F, 0x22, 0xC0, 0x31, 0xC0, 0x44, 0x0F, 0x22, 0xC0, 0xB0, 7, 0xE6, 0xF4,
    ]
    let recorder = Recorder { port, _ in port == 0xF4 ? .end : .resume }
    let running = try RunningVCPU(.flat(FlatImage(mode: .long64, code: code)), handler: recorder)
    defer { running.close() }
    try running.become(.run)
    try waitUntil("the guest ends") { !recorder.stops.isEmpty }
    #expect(recorder.stops == [.exited(code: 7)])
    if !KVMSystem.emulatesRing0 { #expect(running.vcpu.counts.exits["set_tpr"] == 1) }
  }
}

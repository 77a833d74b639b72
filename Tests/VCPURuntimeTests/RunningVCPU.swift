import CHeldEntry
import CKVM
import ComparedKicks
import Dispatch
import Foundation
import GuestImages
import GuestMemory
import KVM
import LinuxSupport
import Synchronization
import TestSupport
import Testing

@testable import VCPURuntime

typealias RealKVM = TestSupport.RealKVM

/// Half a minute from now: for waits that end much sooner unless something is broken.
var soon: UInt64 { MonotonicClock.now() + 30_000_000_000 }

/// The way into the guest: the shipped one, or one that a test can hold or let fail (`CHeldEntry`).
enum EntryPath {
  case shipped, held, blind, failing, forgetful

  /// For a mechanism. Those that let KVM_RUN fail or be blind have the shipped handler alone.
  fileprivate func entry(_ mechanism: ComparedMechanism) -> VCPUEntry? {
    // Safe: constants that live as long as the program.
    switch (self, mechanism) {
    case (.shipped, _): mechanism.entry
    case (.held, .ipFixup): unsafe VCPUEntry(held_ip_fixup_entry())
    case (.held, .signalOnly): unsafe VCPUEntry(held_signal_only_entry())
    case (.held, _): unsafe VCPUEntry(held_entry())
    case (.blind, _): unsafe VCPUEntry(blind_entry())
    case (.failing, _): unsafe VCPUEntry(failing_entry())
    case (.forgetful, _): unsafe VCPUEntry(forgetful_entry())
    }
  }
}

/// An exit handler that a test can hold up and look into.
final class Recorder: ExitHandler {
  /// Called for every port write, on the vCPU's thread.
  let onPortWrite: @Sendable (UInt16, UInt32) -> ExitAction
  /// What follows a read of memory that is not there, which gets 0.
  private let afterMemoryRead: ExitAction
  private let finished = Mutex<[VCPUEnd]>([])
  private let parked = Mutex<[UInt64]>([])
  private let readCount = Atomic<Int>(0)
  private let lastValue = Atomic<UInt8>(0)

  init(
    afterMemoryRead: ExitAction = .resume,
    onPortWrite: @escaping @Sendable (UInt16, UInt32) -> ExitAction = { _, _ in .resume }
  ) {
    self.afterMemoryRead = afterMemoryRead
    self.onPortWrite = onPortWrite
  }

  var stops: [VCPUEnd] { finished.withLock { $0 } }
  /// The runs in which the vCPU was parked for good.
  var parkedRuns: [UInt64] { parked.withLock { $0 } }
  var portReads: Int { readCount.load(ordering: .relaxed) }

  func portRead(_ port: UInt16, size: UInt8) -> (value: UInt32, action: ExitAction) {
    readCount.add(1, ordering: .relaxed)
    return (0x5A, .resume)
  }
  func portWrite(_ port: UInt16, size: UInt8, value: UInt32) -> ExitAction {
    lastValue.store(UInt8(truncatingIfNeeded: value), ordering: .relaxed)
    return onPortWrite(port, value)
  }
  /// The guest's last port access ended it, with what it wrote as its code.
  func end() -> VCPUEnd { .exited(code: lastValue.load(ordering: .relaxed)) }
  func memoryRead(_ address: UInt64, size: UInt8) -> (value: UInt64, action: ExitAction) { (0, afterMemoryRead) }
  func memoryWrite(_ address: UInt64, size: UInt8, value: UInt64) -> ExitAction { .resume }
  func vcpuFinished(index: Int, run: UInt64, _ end: VCPUEnd) { finished.withLock { $0.append(end) } }
  func vcpuParkedForGood(index: Int, run: UInt64) { parked.withLock { $0.append(run) } }
}

/// One vCPU with memory and a guest, taken apart by `close`.
final class RunningVCPU: Sendable {
  let vcpu: VCPU
  let mechanism: ComparedMechanism
  private let parts: Mutex<Parts>

  private struct Parts: ~Copyable {
    var vm: VMDescriptor?
    var memory: GuestRAM?
  }

  init(
    _ image: GuestImage, mechanism: ComparedMechanism = .immediateExit, handler: any ExitHandler = Recorder(),
    path: EntryPath = .shipped
  ) throws {
    let memory = try GuestRAM(size: 2 << 20)
    let layout = try image.layout(memoryBytes: 2 << 20, vcpus: 1)
    for segment in layout.segments { try memory.write(segment.bytes(), at: segment.address) }
    let vm = try RealKVM.system.get().createVM()
    // Safe: `close` closes the VM before the memory goes.
    unsafe try memory.withHostRanges { range, host throws(KVMError) in
      unsafe try vm.map(slot: 0, guestAddress: range.address, host: host, size: range.size)
    }
    let descriptor = try vm.createVCPU(index: 0)
    guard let start = layout.starts[0] else { throw MissingGuest(name: image.name) }
    try descriptor.load(start)
    self.mechanism = mechanism
    vcpu = try VCPU(
      descriptor, index: 0, mechanism: mechanism.shipped, handler: handler, entry: path.entry(mechanism))
    parts = Mutex(Parts(vm: consume vm, memory: consume memory))
  }

  convenience init(
    guest: String, mechanism: ComparedMechanism = .immediateExit, handler: any ExitHandler = Recorder(),
    path: EntryPath = .shipped
  ) throws {
    guard let builtin = BuiltinGuest.named(guest) else { throw MissingGuest(name: guest) }
    try self.init(.builtin(builtin), mechanism: mechanism, handler: handler, path: path)
  }

  struct MissingGuest: Error { let name: String }

  /// Sets a goal and waits for its acknowledgement.
  @discardableResult
  func become(_ goal: VCPUGoal) throws -> KickOutcome {
    try vcpu.wait(for: vcpu.request(goal: goal), untilNS: soon)
  }

  /// Kicks until one lands in the guest, so that the guest is known to have run.
  func kickInGuest() throws -> KickOutcome {
    var landed: KickOutcome?
    try waitUntil("a kick lands in the guest") {
      let outcome = try vcpu.kick(timeoutNS: 30_000_000_000)
      if outcome.phase == .guest { landed = outcome }
      try #require(vcpu.state != .halted, "the guest has ended")
      return landed != nil
    }
    return try #require(landed)
  }

  /// Waits until the 64-bit word of guest memory at `address` changes: until the guest, which counts there, runs.
  func waitUntilItCounts(at address: UInt64) throws {
    let count = try word(at: address)
    try waitUntil("the guest counts") { try word(at: address) != count }
  }

  /// The 64-bit word of guest memory at `address`.
  func word(at address: UInt64) throws -> UInt64 {
    let bytes = try parts.withLock { parts -> Result<[UInt8]?, GuestAddressError> in
      do throws(GuestAddressError) {
        return .success(try parts.memory?.read(at: address, count: 8))
      } catch { return .failure(error) }
    }.get()
    return (bytes ?? []).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// Pauses it and holds its counts against the kernel's. Nobody else may kick it meanwhile.
  func expectAgreementWithKernel(_ location: SourceLocation = #_sourceLocation) throws {
    try become(.pause)
    let counts = vcpu.counts
    #expect(counts.eintrReturns == counts.kernelSignalExits + counts.entryExits, sourceLocation: location)
    // Under the signal mask the kernel takes a signal that was pending at entry for one that came later.
    if vcpu.mechanism == .signalMask { #expect(counts.entryExits == 0, sourceLocation: location) }
  }

  func close() {
    vcpu.join()
    parts.withLock { parts in
      parts.vm = nil
      parts.memory = nil
    }
  }
}

extension VCPU {
  /// The registers of a parked vCPU; nil while it runs.
  func registers() throws -> (GeneralRegisters, SpecialRegisters)? {
    let requested = try requestRegisters()
    _ = try wait(for: requested.ticket, untilNS: soon)
    return try requested.get()
  }
}

/// Looks again and again until something is so, which takes no time to speak of unless it never will be.
func waitUntil(_ what: Comment, _ isSo: () throws -> Bool) throws {
  let deadline = MonotonicClock.now() + 120_000_000_000
  while try !isSo() {
    try #require(MonotonicClock.now() < deadline, what)
    sched_yield()
  }
}

/// Starts threads of their own, so that all of them run at once: a concurrent queue has no more than there are
/// processors. The group is left by each at its end.
func startThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) -> DispatchGroup {
  let group = DispatchGroup()
  for number in 0..<count {
    group.enter()
    Thread.detachNewThread {
      body(number)
      group.leave()
    }
  }
  return group
}

/// A vCPU whose thread stands in its exit handler until it is released.
final class HeldVCPU: Sendable {
  let running: RunningVCPU
  /// The vCPU's own thread.
  let thread: pthread_t
  private let release = DispatchSemaphore(value: 0)

  init() throws {
    let entered = DispatchSemaphore(value: 0)
    let isFirst = Atomic(true)
    let handle = Atomic<UInt>(0)
    let handler = Recorder { [release] _, _ in
      if isFirst.exchange(false, ordering: .relaxed) {
        handle.store(UInt(pthread_self()), ordering: .releasing)
        entered.signal()
        release.wait()
      }
      return .resume
    }
    running = try RunningVCPU(guest: "pio", handler: handler)
    _ = try running.vcpu.request(goal: .run)
    entered.wait()
    thread = pthread_t(handle.load(ordering: .acquiring))
  }

  func letGo() { release.signal() }

  /// Ends it, also where a test has failed before it let go.
  func close() {
    letGo()
    running.close()
  }
}

/// Errands in which a vCPU's thread stands until it is released.
final class HeldErrands: Sendable {
  private let entered = DispatchSemaphore(value: 0)
  private let release = DispatchSemaphore(value: 0)

  func request(of vcpu: VCPU) throws -> KickTicket {
    try vcpu.request { [entered, release] _ in
      entered.signal()
      release.wait()
    }
  }

  /// Returns when the thread has begun the next errand.
  func waitForEntry() throws { try #require(entered.wait(timeout: .now() + 30) == .success) }

  func letGo(_ count: Int = 1) { for _ in 0..<count { release.signal() } }
}

import CKVM
import ComparedKicks
import Dispatch
import Foundation
import GuestImages
import LinuxSupport
import Synchronization
import Testing

@testable import VCPURuntime

/// Several kickers at once, round after round, of a guest that counts in memory and leaves for a port now and then,
/// while its owner pauses and resumes it. Nothing is ever sent again: a kick that is lost stays lost, and is found.
///
/// After each round everything must add up: requests, answers, phases, accesses, and the kernel's own count.
final class KickStress: Sendable {
  /// again: mov $20000, %ecx; 1: incq 0x20000; dec %ecx; jnz 1b; out %al, $0x80; inc %rbx; jmp again
  private static let guest = FlatImage(
    mode: .long64Ring3,
    code: [
      0x31, 0xDB, 0xB9, 0x20, 0x4E, 0, 0, 0x48, 0xFF, 0x04, 0x25, 0, 0, 2, 0, 0xFF, 0xC9, 0x75, 0xF4, 0xE6, 0x80, 0x48,
      0xFF, 0xC3, 0xEB, 0xE8,
    ])
  private static let behindPortWrite: UInt64 = 0x10000 + 21
  private static let counter: UInt64 = 0x20000
  /// What no answer takes unless it never comes.
  private static let patienceNS: UInt64 = 120_000_000_000

  let kickers: Int
  private let running: RunningVCPU
  private let portWrites: Counter
  private let tallies = Mutex<Tallies>(Tallies())

  /// What was asked of the vCPU so far, and what became of it.
  struct Tallies {
    var kicks = 0
    var goals = 0
    var coalesced = 0
    var signals = 0
    var phases: [KickPhase: UInt64] = [:]
    var failures: [String] = []

    fileprivate mutating func add(_ other: Tallies) {
      kicks += other.kicks
      goals += other.goals
      coalesced += other.coalesced
      signals += other.signals
      phases.merge(other.phases, uniquingKeysWith: +)
      failures += other.failures
    }
  }

  private final class Counter: Sendable {
    let value = Atomic<UInt64>(0)
  }

  init(_ mechanism: ComparedMechanism, kickers: Int = 6) throws {
    let portWrites = Counter()
    let handler = Recorder { _, _ in
      portWrites.value.add(1, ordering: .relaxed)
      return .resume
    }
    self.portWrites = portWrites
    self.kickers = kickers
    running = try RunningVCPU(.flat(Self.guest), mechanism: mechanism, handler: handler)
    try become(.run)
  }

  func close() { running.close() }

  var summary: String {
    let sum = tallies.withLock { $0 }
    let counts = running.vcpu.counts
    let phases = KickPhase.allCases.map { "\($0) \(sum.phases[$0, default: 0])" }.joined(separator: ", ")
    return """
      \(running.mechanism.rawValue): \(sum.kicks) kicks answered, \(sum.failures.count) not; \(phases); \
      \(sum.signals) signals, \(sum.coalesced) coalesced; -EINTR \(counts.eintrReturns) = signal_exits \
      \(counts.kernelSignalExits) + entry \(counts.entryExits); spurious \(counts.spuriousReturns)
      """
  }

  /// Kicks the vCPU `kicks` times and checks that everything adds up. Returns false when something was lost.
  func round(kicks: Int) throws -> Bool {
    let before = try running.word(at: Self.counter)
    let claimed = Counter()
    let done = Counter()
    startThreads(kickers + 1) { [self] party in
      var mine = Tallies()
      if party == kickers {
        own(until: { done.value.load(ordering: .relaxed) == kickers }, &mine)
      } else {
        kick(while: { claimed.value.add(1, ordering: .relaxed).newValue <= kicks }, &mine)
        done.value.add(1, ordering: .relaxed)
      }
      tallies.withLock { $0.add(mine) }
    }.wait()
    guard tallies.withLock({ $0.failures.isEmpty }) else {
      Issue.record("lost: \(tallies.withLock { $0.failures }.joined(separator: "; ")). \(summary)")
      return false
    }
    try expectProgress(since: before)
    try expectEverythingAddsUp()
    return true
  }

  private func kick(while isWanted: () -> Bool, _ mine: inout Tallies) {
    var last: UInt64 = 0
    while isWanted() {
      do throws(KickError) {
        let ticket = try running.vcpu.request()
        let outcome = try running.vcpu.wait(
          for: ticket, untilNS: MonotonicClock.now() + Self.patienceNS, resends: false)
        running.vcpu.count(outcome)
        if outcome.generation != ticket.generation || outcome.generation <= last {
          mine.failures.append("request \(ticket.generation) was answered as \(outcome.generation) after \(last)")
        }
        last = outcome.generation
        mine.kicks += 1
        mine.coalesced += outcome.coalesced ? 1 : 0
        mine.signals += outcome.signalsSent
        mine.phases[outcome.phase, default: 0] += 1
      } catch {
        mine.failures.append("\(error)")
        return
      }
    }
  }

  /// The owner's part: pause, see that a kick finds the vCPU parked, resume, and leave the guest some time.
  private func own(until isOver: () -> Bool, _ mine: inout Tallies) {
    while !isOver() {
      do {
        mine.goals += 2
        try wait(running.vcpu.request(goal: .pause))
        let parked = try wait(running.vcpu.request())
        running.vcpu.count(parked)
        mine.kicks += 1
        mine.phases[parked.phase, default: 0] += 1
        mine.coalesced += parked.coalesced ? 1 : 0
        // `host` is what one is told whose record was overwritten before one looked.
        if parked.phase != .parked, parked.phase != .host {
          mine.failures.append("a kick of a paused vCPU landed in \(parked.phase)")
        }
        try wait(running.vcpu.request(goal: .run))
        var remaining = 20
        kick(
          while: {
            remaining -= 1
            return remaining >= 0 && !isOver()
          }, &mine)
      } catch {
        mine.failures.append("\(error)")
        return
      }
    }
  }

  @discardableResult
  private func wait(_ ticket: KickTicket) throws(KickError) -> KickOutcome {
    try running.vcpu.wait(for: ticket, untilNS: MonotonicClock.now() + Self.patienceNS, resends: false)
  }

  private func become(_ goal: VCPUGoal) throws {
    tallies.withLock { $0.goals += 1 }
    try wait(running.vcpu.request(goal: goal))
  }

  /// However many kicks it takes, within reason: the guest counts on.
  private func expectProgress(since before: UInt64) throws {
    var patience = 20_000
    while try running.word(at: Self.counter) == before, patience > 0 {
      var one = Tallies()
      var isFirst = true
      kick(
        while: {
          defer { isFirst = false }
          return isFirst
        }, &one)
      tallies.withLock { $0.add(one) }
      patience -= 1
    }
    #expect(patience > 0, "the guest has starved. \(summary)")
  }

  /// Nobody kicks any more. The vCPU is paused for it, and runs again afterwards.
  private func expectEverythingAddsUp() throws {
    try become(.pause)
    let sum = tallies.withLock { $0 }
    let counts = running.vcpu.counts
    let word = running.vcpu.control.request
    let served = running.vcpu.control.served.generation
    #expect(word.generation == UInt64(sum.kicks + sum.goals) && served == word.generation, "\(summary)")
    #expect(!word.isPending && !word.isOutstanding)
    #expect(counts.kicks.filter { $0.value > 0 } == sum.phases, "\(summary)")
    #expect(sum.phases.values.reduce(0, +) == UInt64(sum.kicks))
    #expect(counts.runErrors == 0 && counts.kickTimeouts == 0)
    #expect(counts.eintrReturns == counts.kernelSignalExits + counts.entryExits, "\(summary)")
    if running.vcpu.mechanism == .signalMask { #expect(counts.entryExits == 0 && sum.phases[.entry] == nil) }
    // Each access was served once: the guest has counted as many as we have. Registers are a request, too.
    tallies.withLock { $0.goals += 1 }
    let general = try #require(try running.vcpu.registers()).0
    let unfinished: UInt64 = general.instructionPointer == Self.behindPortWrite ? 1 : 0
    #expect(portWrites.value.load(ordering: .relaxed) == general.rbx + unfinished)
    #expect(counts.exits["io", default: 0] == general.rbx + unfinished)
    try become(.run)
  }
}

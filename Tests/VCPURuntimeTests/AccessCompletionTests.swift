import ComparedKicks
import Dispatch
import GuestImages
import Synchronization
import Testing

@testable import VCPURuntime

/// Kicks and pauses in the midst of port and memory accesses. Each access must be served exactly once, and when the
/// vCPU is paused, registers and memory must be what they are between two instructions.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct AccessCompletionTests {
  /// Each turn: a port write, a port read, a memory write, a memory read, and a memory read across two pages, which KVM
  /// hands out in two parts. What was read is added up in memory.
  ///
  ///      0  xor %ebx, %ebx; mov $0xD0000000, %edx
  ///      7  mov %ebx, %eax
  ///      9  out %eax, $0x80
  ///     11  in $0x81, %eax
  ///     13  add %rax, 0x20000
  ///     21  mov %ebx, (%rdx)
  ///     23  mov 8(%rdx), %rax
  ///     27  add %rax, 0x20008
  ///     35  mov 0xFFC(%rdx), %rax
  ///     42  add %rax, 0x20010
  ///     50  inc %rbx
  ///     53  jmp 7
  private static let guest = FlatImage(
    mode: .long64Ring3,
    code: [
      0x31, 0xDB, 0xBA, 0, 0, 0, 0xD0, 0x89, 0xD8, 0xE7, 0x80, 0xE5, 0x81, 0x48, 0x01, 0x04, 0x25, 0, 0, 2, 0, 0x89,
      0x1A, 0x48, 0x8B, 0x42, 0x08, 0x48, 0x01, 0x04, 0x25, 8, 0, 2, 0, 0x48, 0x8B, 0x82, 0xFC, 0x0F, 0, 0, 0x48, 0x01,
      0x04, 0x25, 0x10, 0, 2, 0, 0x48, 0xFF, 0xC3, 0xEB, 0xD0,
    ])

  /// What the `n`-th read gives, by the accessed place.
  private static let portValue: @Sendable (UInt64) -> UInt64 = { 3 * $0 + 1 }
  private static let memoryValue: @Sendable (UInt64) -> UInt64 = { $0 << 33 | 5 * $0 + 2 }
  private static let lowValue: @Sendable (UInt64) -> UInt64 = { 7 * $0 + 3 }
  private static let highValue: @Sendable (UInt64) -> UInt64 = { $0 + 9 }

  /// The devices: they count, and see that each write is the one that comes next.
  private final class Ledger: ExitHandler {
    struct Counts: Equatable {
      var portWrites: UInt64 = 0
      var portReads: UInt64 = 0
      var memoryWrites: UInt64 = 0
      var memoryReads: UInt64 = 0
      var lowReads: UInt64 = 0
      var highReads: UInt64 = 0
      var outOfTurn: [String] = []
    }

    private let guarded = Mutex(Counts())
    private let ended = Mutex<[VCPUEnd]>([])
    var counts: Counts { guarded.withLock { $0 } }
    var stops: [VCPUEnd] { ended.withLock { $0 } }

    func portWrite(_ port: UInt16, size: UInt8, value: UInt32) -> ExitAction {
      guarded.withLock { counts in
        if UInt64(value) != counts.portWrites { counts.outOfTurn.append("port write \(value)") }
        counts.portWrites += 1
      }
      return .resume
    }

    func portRead(_ port: UInt16, size: UInt8) -> (value: UInt32, action: ExitAction) {
      guarded.withLock { counts in
        counts.portReads += 1
        return (UInt32(truncatingIfNeeded: portValue(counts.portReads - 1)), .resume)
      }
    }

    func memoryWrite(_ address: UInt64, size: UInt8, value: UInt64) -> ExitAction {
      guarded.withLock { counts in
        if value != counts.memoryWrites { counts.outOfTurn.append("memory write \(value)") }
        counts.memoryWrites += 1
      }
      return .resume
    }

    func memoryRead(_ address: UInt64, size: UInt8) -> (value: UInt64, action: ExitAction) {
      guarded.withLock { counts in
        switch (address, size) {
        case (0xD000_0008, 8):
          counts.memoryReads += 1
          return (memoryValue(counts.memoryReads - 1), .resume)
        case (0xD000_0FFC, 4):
          counts.lowReads += 1
          return (lowValue(counts.lowReads - 1), .resume)
        case (0xD000_1000, 4):
          counts.highReads += 1
          return (highValue(counts.highReads - 1), .resume)
        default:
          counts.outOfTurn.append("memory read of \(size) bytes at \(address)")
          return (0, .resume)
        }
      }
    }

    func vcpuFinished(index: Int, run: UInt64, _ end: VCPUEnd) { ended.withLock { $0.append(end) } }
    func vcpuParkedForGood(index: Int, run: UInt64) {}
    func end() -> VCPUEnd { .halted }
  }

  /// Pitfall 9: after -EINTR, `exit_reason` may still hold the exit before; who reads it first serves that exit twice.
  /// Pitfall 10: what was served is in the registers before they are read.
  @Test(arguments: ComparedMechanism.sound) func everyAccessIsServedOnceAndCompletedBeforeRegistersAreRead(
    _ mechanism: ComparedMechanism
  ) throws {
    let ledger = Ledger()
    let running = try RunningVCPU(.flat(Self.guest), mechanism: mechanism, handler: ledger)
    defer { running.close() }
    let isOver = Atomic<Bool>(false)
    let group = DispatchGroup()
    for _ in 0..<3 {
      DispatchQueue.global().async(group: group) {
        while !isOver.load(ordering: .relaxed) { _ = try? running.vcpu.kick(timeoutNS: 30_000_000_000) }
      }
    }
    defer {
      isOver.store(true, ordering: .relaxed)
      group.wait()
    }
    var expected = Expected()
    for _ in 0..<300 {
      try running.become(.run)
      for _ in 0..<3 { _ = try running.vcpu.kick(timeoutNS: 30_000_000_000) }
      try running.become(.pause)
      try expected.check(running, ledger)
    }
    #expect(expected.turns > 0)
    #expect(ledger.stops == [])
    isOver.store(true, ordering: .relaxed)
    group.wait()
    try running.expectAgreementWithKernel()
  }

  /// Sums that grow with the turns.
  private struct Expected {
    var turns: UInt64 = 0
    private var port: UInt64 = 0
    private var memory: UInt64 = 0
    private var crossing: UInt64 = 0

    mutating func check(_ running: RunningVCPU, _ ledger: Ledger) throws {
      let general = try #require(try running.vcpu.registers()).0
      let (turn, place) = (general.rbx, general.instructionPointer - 0x10000)
      let counts = ledger.counts
      while turns < turn {
        port &+= portValue(turns)
        memory &+= memoryValue(turns)
        crossing &+= lowValue(turns) | highValue(turns) << 32
        turns += 1
      }
      /// How often the instruction before `next` has been executed.
      func passed(_ next: UInt64) -> UInt64 { turn + (next <= place && place < 53 ? 1 : 0) }
      let exact = Ledger.Counts(
        portWrites: passed(11), portReads: passed(13), memoryWrites: passed(23), memoryReads: passed(27),
        lowReads: passed(42), highReads: passed(42))
      #expect(counts == exact, "turn \(turn), at \(place)")
      let last = (portValue(turn), memoryValue(turn), lowValue(turn) | highValue(turn) << 32)
      #expect(try running.word(at: 0x20000) == port &+ (passed(21) > turn ? last.0 : 0))
      #expect(try running.word(at: 0x20008) == memory &+ (passed(35) > turn ? last.1 : 0))
      #expect(try running.word(at: 0x20010) == crossing &+ (passed(50) > turn ? last.2 : 0))
      switch place {
      case 13: #expect(general.rax == last.0)
      case 27: #expect(general.rax == last.1)
      case 42: #expect(general.rax == last.2)
      default: break
      }
    }
  }
}

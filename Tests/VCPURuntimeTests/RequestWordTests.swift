import Testing

@testable import VCPURuntime

/// The request word as a table: what a kicker does, given what it finds.
struct RequestWordTests {
  private func word(
    generation: UInt64 = 7, reasons: RequestWord.Reasons = [], goal: VCPUGoal = .run, parked: Bool = false,
    outstanding: Bool = false
  ) -> RequestWord {
    RequestWord(
      bits: generation << 16 | reasons.rawValue << 8 | goal.rawValue << 4 | (parked ? 2 : 0) | (outstanding ? 1 : 0))
  }

  @Test func aRunningVCPUIsSignalledOnceAndFurtherKicksShareTheSignal() throws {
    let first = try #require(word().requesting(.kick, goal: nil))
    #expect(first.delivery == .signal)
    #expect(first.word == word(generation: 8, reasons: .kick, outstanding: true))
    let second = try #require(first.word.requesting(.kick, goal: nil))
    #expect(second.delivery == .shared)
    #expect(second.word.generation == 9)
  }

  @Test func aParkedVCPUIsWokenOnceAndNeverSignalled() throws {
    let first = try #require(word(parked: true).requesting(.goal, goal: .pause))
    #expect(first.delivery == .wake)
    #expect(!first.word.isOutstanding)
    let second = try #require(first.word.requesting(.kick, goal: nil))
    #expect(second.delivery == .shared)
    #expect(second.word.reasons == [.goal, .kick])
  }

  @Test func everyRequestChangesTheFutexWord() throws {
    var current = word(parked: true)
    for _ in 0..<1000 {
      let next = try #require(current.requesting(.kick, goal: nil)).word
      #expect(next.futexValue != current.futexValue)
      current = next
    }
  }

  @Test(arguments: [VCPUGoal.ready, .run, .pause]) func aGoalBeforeStopMayBeReplacedByAny(from: VCPUGoal) throws {
    for to in [VCPUGoal.run, .pause, .stop, .end] {
      #expect(try #require(word(goal: from).requesting(.goal, goal: to)).word.goal == to)
    }
  }

  @Test func stopIsOnlyReplacedByEndAndEndRefusesEverything() throws {
    for to in [VCPUGoal.run, .pause, .stop] {
      #expect(try #require(word(goal: .stop).requesting(.goal, goal: to)).word.goal == .stop)
    }
    #expect(try #require(word(goal: .stop).requesting(.goal, goal: .end)).word.goal == .end)
    #expect(word(goal: .end).requesting(.kick, goal: nil) == nil)
  }

  @Test func stopIsReplacedByReadyForAnotherRun() throws {
    #expect(try #require(word(goal: .pause).requesting(.goal, goal: .ready)).word.isInOddRun == false)
    let first = try #require(word(goal: .stop, parked: true).requesting(.goal, goal: .ready))
    #expect(first.word.goal == .ready && first.word.isInOddRun && first.delivery == .wake)
    let stopped = try #require(first.word.requesting(.goal, goal: .stop)).word
    #expect(stopped.isInOddRun && RequestWord(bits: stopped.bits & ~RequestWord.takenBits).isInOddRun)
    let second = try #require(stopped.requesting(.goal, goal: .ready)).word
    #expect(second.goal == .ready && !second.isInOddRun)
  }

  @Test func takingClearsMarksAndReasonsAndKeepsGoalAndGeneration() {
    let full = word(generation: 99, reasons: [.kick, .goal, .input], goal: .pause, parked: true, outstanding: true)
    let taken = RequestWord(bits: full.bits & ~RequestWord.takenBits)
    #expect(taken == word(generation: 99, goal: .pause))
  }

  @Test func theReasonsAreTheByteThatTheEntryStubChecks() {
    #expect(word(generation: 0xFFFF_FFFF, outstanding: true).bits >> 8 & 0xFF == 0)
    #expect(word(reasons: .kick).bits >> 8 & 0xFF != 0)
  }
}

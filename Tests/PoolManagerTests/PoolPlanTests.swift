import Testing

@testable import PoolManager

/// A pool's plan as a table, and against an oracle.
struct PoolPlanTests {
  private func plan(_ events: [PoolPlan.Event]) -> PoolPlan {
    var plan = PoolPlan()
    for event in events { _ = plan.on(event) }
    return plan
  }

  @Test func aDeclaredPoolMakesWhatIsMissing() {
    var plan = PoolPlan()
    #expect(plan.on(.declared(ready: 3)) == [.create(3)])
    #expect(plan.on(.created) == [])
    #expect(plan.ready == 1 && plan.creating == 2)
  }

  @Test func aTakenVMIsReplacedAtOnce() {
    var plan = plan([.declared(ready: 1), .created])
    #expect(plan.on(.lost) == [.create(1)])
  }

  @Test func aSmallerDeclarationDestroysTheSurplusAndABiggerOneMakesMore() {
    var plan = plan([.declared(ready: 2), .created, .created])
    #expect(plan.on(.declared(ready: 1)) == [.destroy(1)])
    #expect(plan.on(.declared(ready: 4)) == [.create(3)])
  }

  @Test func whatIsStillBeingMadeWhenTheTargetSinksIsDestroyedOnceItIsThere() {
    var plan = plan([.declared(ready: 2)])
    #expect(plan.on(.declared(ready: 1)) == [])
    #expect(plan.on(.created) == [])
    #expect(plan.on(.created) == [.destroy(1)])
  }

  @Test func aNewDeclarationOfTheVMsReplacesThemAll() {
    var plan = plan([.declared(ready: 2), .created, .created])
    #expect(plan.on(.replaced(ready: 2)) == [.destroy(2), .create(2)])
    #expect(plan.ready == 0)
  }

  @Test func anOutdatedVMIsMadeAgain() {
    var plan = plan([.declared(ready: 1)])
    #expect(plan.on(.replaced(ready: 1)) == [])
    #expect(plan.on(.outdated) == [.create(1)])
  }

  @Test func afterAFailureItWaitsTwiceAsLongEachTimeUpToHalfAMinute() {
    var plan = plan([.declared(ready: 1)])
    var waits: [Int] = []
    for _ in 0..<12 {
      guard case .retryAfter(let milliseconds)? = plan.on(.failed).first else { return #expect(Bool(false)) }
      waits.append(milliseconds)
      #expect(plan.on(.retry) == [.create(1)])
    }
    #expect(waits == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000])
    #expect(plan.on(.created) == [])
  }

  @Test func whileItWaitsItMakesNothing() {
    var plan = plan([.declared(ready: 2), .failed])
    #expect(plan.on(.failed) == [])
    #expect(plan.on(.declared(ready: 5)) == [])
    #expect(plan.on(.retry) == [.create(5)])
  }

  @Test func aClosedPoolIsLeftAsItIs() {
    var plan = plan([.declared(ready: 3), .created, .closed])
    #expect(plan.on(.lost) == [])
    #expect(plan.on(.created) == [])
    #expect(plan.on(.failed) == [])
  }

  /// Random events, obeyed as the fleet obeys them: the counts never go below zero, and once everything asked for has
  /// been done the pool has what was declared.
  @Test func countsAgreeWithAnOracle() {
    var random = SeededGenerator("countsAgreeWithAnOracle")
    for _ in 0..<2_000 {
      var plan = PoolPlan()
      var pending = 0
      var waiting = false
      func obey(_ actions: [PoolPlan.Action]) {
        for action in actions {
          switch action {
          case .create(let count): pending += count
          case .destroy: break
          case .retryAfter: waiting = true
          }
        }
      }
      for _ in 0..<Int.random(in: 1...40, using: &random) {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: obey(plan.on(.declared(ready: Int.random(in: 0...5, using: &random))))
        case 1: obey(plan.on(.replaced(ready: Int.random(in: 0...5, using: &random))))
        case 2 where pending > 0:
          pending -= 1
          obey(plan.on(.created))
        case 3 where pending > 0:
          pending -= 1
          obey(plan.on(.failed))
        case 4 where plan.ready > 0: obey(plan.on(.lost))
        case 5 where waiting:
          waiting = false
          obey(plan.on(.retry))
        default: break
        }
        #expect(plan.ready >= 0 && plan.creating == pending)
      }
      if waiting { obey(plan.on(.retry)) }
      while pending > 0 {
        pending -= 1
        obey(plan.on(.created))
      }
      #expect(plan.ready == plan.target)
    }
  }
}

import LinuxSupport
import Testing

struct FutexTests {
  @Test func aWaitOnAWordThatHasChangedReturnsAtOnce() {
    var word: UInt32 = 5
    // Safe: the word is a local that outlives the call.
    let outcome = unsafe withUnsafePointer(to: &word) { unsafe Futex.wait(on: $0, while: 4, timeoutNS: nil) }
    #expect(outcome == .lookAgain)
  }

  @Test func aWaitThatNobodyEndsTimesOut() {
    var word: UInt32 = 5
    // Safe: the word is a local that outlives the call.
    let outcome = unsafe withUnsafePointer(to: &word) { unsafe Futex.wait(on: $0, while: 5, timeoutNS: 1_000_000) }
    #expect(outcome == .timedOut)
  }
}

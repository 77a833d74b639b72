import ComparedKicks
import Foundation
import LinuxSupport
import Testing
import ThreadSanitizerSupport

@testable import VCPURuntime

/// No kick is lost, and everything adds up, in a long run of many kickers (all pitfalls at once).
///
/// VMPOOL_STRESS_KICKS sets how many kicks of each mechanism; `make soak` asks for ten million.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct KickStressTests {
  private static let kicks: Int =
    ProcessInfo.processInfo.environment["VMPOOL_STRESS_KICKS"].flatMap { Int($0) }
    ?? (is_thread_sanitizer() ? 10_000 : 100_000)

  @Test(arguments: ComparedMechanism.sound) func noKickIsLost(_ mechanism: ComparedMechanism) throws {
    let stress = try KickStress(mechanism)
    defer { stress.close() }
    let began = MonotonicClock.now()
    var reported = began
    var done = 0
    while done < Self.kicks {
      let round = min(10_000, Self.kicks - done)
      guard try stress.round(kicks: round) else { return }
      done += round
      if MonotonicClock.now() - reported > 5_000_000_000 {
        reported = MonotonicClock.now()
        report("\(done) of \(Self.kicks), \(Int(Double(done) / Double(reported - began) * 1e9)) a second")
      }
    }
    report("\(stress.summary); \((MonotonicClock.now() - began) / 1_000_000) ms")

    func report(_ line: String) {
      FileHandle.standardError.write(Data("stress \(mechanism.rawValue): \(line)\n".utf8))
    }
  }
}

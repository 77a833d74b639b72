import Foundation
import GuestImages
import LinuxSupport
import TestSupport
import Testing

@testable import MachineRuntime

/// Machine code that is nothing but random bytes, in every mode: it ends itself or is ended, and leaves nothing behind.
@Suite(.serialized, .enabled(if: RealVM.isAvailable)) struct RandomImageTests {
  /// How many of each mode; VMPOOL_RANDOM_IMAGES says otherwise.
  static let count = ProcessInfo.processInfo.environment["VMPOOL_RANDOM_IMAGES"].flatMap { Int($0) } ?? 100

  @Test(arguments: FlatMode.allCases) func endsWhateverItDoes(mode: FlatMode) async {
    await #expect(processExitsWith: .success) { [raw = mode.rawValue as String, count = Self.count as Int] in
      let mode = try #require(FlatMode(rawValue: raw))
      var random = SeededGenerator(for: "RandomImageTests \(raw)")
      var ends: [String: Int] = [:]
      func round() throws {
        let code = (0..<Int.random(in: 1...512, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        let changes = Changes()
        let image = GuestImage.flat(FlatImage(mode: mode, code: code))
        let machine = try RealVM.make(image, deadlineNS: 5_000_000, changes: changes)
        // On a busy host the deadline may come first, and refuses it.
        try? machine.start(untilNS: RealVM.soon)
        let stop = try #require(changes.waitForStop(), "it does not stop: \(code)")
        switch stop {
        case .guest(.exited), .guest(.halted), .guest(.crashed), .deadline: ends[stop.reason, default: 0] += 1
        case .killed, .guest(.poweredOff), .guest(.reset): Issue.record("\(stop): \(code)")
        }
        machine.destroy()
      }
      for _ in 0..<50 { try round() }
      let before = try ProcessUse()
      for _ in 0..<count { try round() }
      let after = try ProcessUse()
      print("\(raw): \(ends)")
      #expect(after.vmDescriptors == 0 && after.vcpuThreads == 0)
      #expect(
        after.anonymousKiB < before.anonymousKiB + 4_096, "\(before.anonymousKiB) KiB → \(after.anonymousKiB) KiB")
    }
  }
}

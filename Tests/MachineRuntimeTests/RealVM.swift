import ComparedKicks
import Foundation
import GuestImages
import KVM
import LinuxSupport
import Synchronization
import TestSupport
import Testing
import VCPURuntime

@testable import MachineRuntime

/// What tests with real VMs share.
enum RealVM {
  static let system = RealKVM.system

  static var isAvailable: Bool { RealKVM.isAvailable }

  /// Half a minute from now: for waits that end much sooner unless something is broken.
  static var soon: UInt64 { MonotonicClock.now() + 30_000_000_000 }

  static func make(
    _ guest: String, vcpus: Int = 1, memoryMiB: Int = 2, mechanism: ComparedMechanism = .immediateExit,
    deadlineNS: UInt64? = nil, changes: Changes = Changes()
  ) throws -> Machine {
    let image = GuestImage.builtin(try #require(BuiltinGuest.named(guest)))
    return try make(
      image, vcpus: vcpus, memoryMiB: memoryMiB, mechanism: mechanism, deadlineNS: deadlineNS, changes: changes)
  }

  static func make(
    _ image: GuestImage, vcpus: Int = 1, memoryMiB: Int = 2, mechanism: ComparedMechanism = .immediateExit,
    deadlineNS: UInt64? = nil, changes: Changes = Changes()
  ) throws -> Machine {
    let configuration = MachineConfiguration(
      image: image, vcpus: vcpus, memoryMiB: memoryMiB, mechanism: mechanism.shipped, deadlineNS: deadlineNS,
      entry: mechanism.entry)
    return try Machine(configuration, on: system.get()) { changes.append($0) }
  }
}

/// The changes of state that a VM announced, in order.
final class Changes: Sendable {
  private let states = Mutex<[MachineState]>([])
  private let stopped = DispatchSemaphore(value: 0)

  func append(_ state: MachineState) {
    states.withLock { $0.append(state) }
    if case .stopped = state { stopped.signal() }
  }

  var all: [MachineState] { states.withLock { $0 } }

  /// Waits until the VM has announced that it stopped.
  func waitForStop() -> MachineStop? {
    guard stopped.wait(timeout: .now() + 30) == .success else { return nil }
    guard case .stopped(let stop) = all.last else { return nil }
    return stop
  }
}

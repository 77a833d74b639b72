import Devices
import Dispatch
import GuestImages
import KVM
import LinuxSupport
import MachineRuntime
import Testing

@testable import PoolManager

/// Probes on real VMs, and what a vCPU that does not answer costs the others.
@Suite(.enabled(if: (try? KVMSystem()) != nil)) struct KickProbeTests {
  private let workers = WorkerPool(name: "probes", threads: 1, queueLimit: 16)
  private static var soon: UInt64 { MonotonicClock.now() + 30_000_000_000 }

  /// A device that holds up the vCPU that reads it, until `letGo`.
  private final class Holdup: Device {
    private let reached = DispatchSemaphore(value: 0)
    private let released = DispatchSemaphore(value: 0)

    func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
      reached.signal()
      released.wait()
      released.signal()
      return (0, .none)
    }

    func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect { .none }

    func waitForGuest() -> Bool { reached.wait(timeout: .now() + 30) == .success }
    func letGo() { released.signal() }
  }

  /// A VM that runs `code`.
  private func run(_ code: [UInt8], _ holdup: Holdup) throws -> (VM, Machine) {
    let image = GuestImage.flat(FlatImage(mode: .long64Ring3, code: code))
    let configuration = MachineConfiguration(image: image, vcpus: 1, memoryMiB: 2, mechanism: .immediateExit)
    let attachment = DeviceAttachment("holdup", at: .ports(0x80, count: 1)) { _ in holdup }
    let machine = try Machine(configuration, on: KVMSystem(), additional: [attachment])
    try machine.start(untilNS: Self.soon)
    let id = "vm-0000000000014a60"
    let vm = VM(
      id: id, owner: .standard, pool: "probed", machine: machine, measurements: PoolMeasurements(),
      occupant: Occupant(id))
    return (vm, machine)
  }

  // in al, 0x80; jmp back
  private static let reader: [UInt8] = [0xE4, 0x80, 0xEB, 0xFC]
  // jmp to itself
  private static let spinner: [UInt8] = [0xEB, 0xFE]

  private func waitUntil(_ what: Comment, _ isSo: () throws -> Bool) throws {
    let deadline = Self.soon
    while try !isSo() {
      try #require(MonotonicClock.now() < deadline, what)
      MonotonicClock.sleep(untilNS: MonotonicClock.now() + 1_000_000)
    }
  }

  private func kicks(_ machine: Machine) -> UInt64 { machine.counts.kicks.values.reduce(0, +) }

  /// One probe waits for a vCPU that is held up; the other, on the same worker, goes on.
  @Test func aKickThatIsNotAnsweredOccupiesNoWorker() throws {
    let holdup = Holdup()
    // Also where an expectation is not met: a VM that is held up cannot be taken apart.
    defer { holdup.letGo() }
    let (held, other) = (try run(Self.reader, holdup), try run(Self.spinner, Holdup()))
    #expect(holdup.waitForGuest())
    let before = try held.1.vcpu(0).published
    let first = KickProbe(everyNS: 1_000_000, patienceNS: .max, on: workers) { held.0 }
    try waitUntil("the vCPU is kicked") { try held.1.vcpu(0).published > before }
    let second = KickProbe(everyNS: 1_000_000, on: workers) { other.0 }
    try waitUntil("the other is kicked again and again") { kicks(other.1) > 10 }
    #expect(try held.1.vcpu(0).published == before + 1, "a probe that waits makes no other kick")
    holdup.letGo()
    try waitUntil("the answer is counted, and the probe goes on") { kicks(held.1) > 1 }
    withExtendedLifetime((first, second)) {}
    held.1.destroy()
    other.1.destroy()
  }

  @Test func aKickThatIsNotAnsweredInTimeIsCountedAsSuch() throws {
    let holdup = Holdup()
    defer { holdup.letGo() }
    let held = try run(Self.reader, holdup)
    #expect(holdup.waitForGuest())
    let probe = KickProbe(everyNS: 1_000_000, patienceNS: 1_000_000, on: workers) { held.0 }
    try waitUntil("kicks time out") { held.1.counts.kickTimeouts > 1 }
    holdup.letGo()
    withExtendedLifetime(probe) {}
    held.1.destroy()
  }
}

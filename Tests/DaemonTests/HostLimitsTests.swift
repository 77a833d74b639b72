import LinuxSupport
import Testing

@testable import vmpoold

/// What the host and its control groups leave for VMs.
struct HostLimitsTests {
  private func limits(_ group: ControlGroupLimits, hostMiB: Int = 8192, threads: Int = 100_000) -> HostLimits {
    HostLimits(
      group: group, hostMemoryBytes: hostMiB << 20, maxDescriptors: 1024, maxMappings: 65_530, maxThreads: threads)
  }

  @Test func memoryIsFourFifthsOfTheSmallerOfHostAndGroup() {
    #expect(limits(ControlGroupLimits()).memoryMiB == 8192 / 5 * 4)
    #expect(limits(ControlGroupLimits()).memorySource == "the host has 8192 MiB")
    let small = limits(ControlGroupLimits(memoryBytes: 1 << 30))
    #expect(small.memoryMiB == 816 && small.memorySource == "the control group has 1024 MiB")
    #expect(limits(ControlGroupLimits(memoryBytes: 1 << 40)).memoryMiB == 8192 / 5 * 4)
    // A guest of 1 GiB must not fit 300 MiB, and the server keeps 64 MiB for itself.
    #expect(limits(ControlGroupLimits(memoryBytes: 300 << 20)).memoryMiB == 236)
    #expect(limits(ControlGroupLimits(memoryBytes: 16 << 20)).memoryMiB == 1)
  }

  @Test func threadsAreWhatTheLowestLimitLeaves() {
    #expect(limits(ControlGroupLimits()).threads == 100_000 - 400)
    #expect(limits(ControlGroupLimits(tasks: 32_768)).threads == 32_768 - 400)
    #expect(limits(ControlGroupLimits(tasks: 512)).threads == 256)
    #expect(limits(ControlGroupLimits(tasks: 1_000_000), threads: 2000).threads == 1600)
  }

  @Test func thisMachineHasLimits() {
    let current = HostLimits.current
    #expect(current.memoryMiB >= 1 && current.descriptors >= 1 && current.mappings >= 1 && current.threads >= 1)
  }
}

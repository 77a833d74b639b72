import CKVM
import Testing

@testable import KVM

/// What a vCPU is told of itself and its likes (CPUID), from what the host's KVM offers.
@Suite(.enabled(if: RealVM.isAvailable)) struct ProcessorTests {
  @Test(arguments: [1, 2, 3, 8]) func everyVCPUIsACoreOfOnePackage(count: Int) throws {
    let host = try RealVM.system.get().features
    for vcpu in 0..<count {
      let entries = host.entries(vcpu: vcpu, of: count, hasAPIC: true, hasDeadlineTimer: true)
      func leaf(_ function: UInt32, _ index: UInt32 = 0) -> kvm_cpuid_entry2? {
        entries.first { $0.function == function && $0.index == index }
      }
      let first = try #require(leaf(1))
      #expect(first.ebx >> 24 == UInt32(vcpu) && first.ebx >> 16 & 0xFF == UInt32(count))
      #expect(first.ecx >> 31 == 1 && first.ecx >> 24 & 1 == 1)
      #expect(first.edx >> 28 & 1 == (count > 1 ? 1 : 0))
      if let threads = leaf(0xB, 0), let cores = leaf(0xB, 1) {
        #expect(threads.ebx == 1 && threads.eax == 0 && threads.edx == UInt32(vcpu))
        #expect(cores.ebx == UInt32(count) && cores.edx == UInt32(vcpu))
        // So many bits of the id tell the cores apart, and no more than that.
        #expect(1 << cores.eax >= count && 1 << cores.eax < 2 * count)
      }
      if let extended = leaf(0x8000_001E) { #expect(extended.eax == UInt32(vcpu)) }
      #expect(!entries.contains { $0.function == 0x1F })
    }
    let alone = host.entries(vcpu: 0, of: 1, hasAPIC: true, hasDeadlineTimer: false)
    #expect(try #require(alone.first { $0.function == 1 }).ecx >> 31 == 1)
  }

  /// A VM without interrupt controllers is offered no APIC, and no feature that works through one.
  @Test func withoutAnAPICNothingThatNeedsOneIsOffered() throws {
    let host = try RealVM.system.get().features
    let entries = host.entries(vcpu: 0, of: 1, hasAPIC: false, hasDeadlineTimer: false)
    func leaf(_ function: UInt32) -> kvm_cpuid_entry2 {
      entries.first { $0.function == function } ?? kvm_cpuid_entry2()
    }
    #expect(leaf(1).edx & 1 << 9 == 0 && leaf(1).ecx & (1 << 21 | 1 << 24) == 0 && leaf(1).ecx >> 31 == 1)
    #expect(leaf(6).eax & 1 << 2 == 0)
    #expect(leaf(0x8000_0001).edx & 1 << 9 == 0)
    // Asynchronous page faults, end of interrupt, unhalt and interrupts between processors.
    #expect(leaf(0x4000_0001).eax & (1 << 4 | 1 << 6 | 1 << 7 | 1 << 11) == 0)
    let offered = host.entries(vcpu: 0, of: 1, hasAPIC: true, hasDeadlineTimer: false).first { $0.function == 1 }
    #expect(try #require(offered).ecx & 1 << 21 != 0, "or this test tests nothing")
  }
}

import GuestImages
import VCPURuntime

/// What a VM is made of.
public struct MachineConfiguration: Sendable {
  /// The guest.
  public let image: GuestImage
  /// Number of vCPUs, 1 to 64.
  public let vcpus: Int
  /// Guest memory in MiB, 1 to 65 536.
  public let memoryMiB: Int
  /// How its vCPUs are kicked.
  public let mechanism: KickMechanism
  /// Whether it has the kernel's interrupt controllers, so that a halted vCPU sleeps in the kernel.
  public let hasIRQChip: Bool
  /// The VM stops (as `deadline`) when it has been started for so long; nil for never.
  public let deadlineNS: UInt64?
  /// What its vCPUs' threads are called, with a slash and the vCPU's number: up to 13 bytes of it are seen.
  public let name: String
  /// The way into the guest, where it is not the shipped one (nil): no pool has another.
  public let entry: VCPUEntry?

  /// A VM of `vcpus` vCPUs and `memoryMiB` MiB that runs `image`.
  public init(
    image: GuestImage, vcpus: Int, memoryMiB: Int, mechanism: KickMechanism, hasIRQChip: Bool = false,
    deadlineNS: UInt64? = nil, name: String = "vcpu", entry: VCPUEntry? = nil
  ) {
    self.image = image
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.mechanism = mechanism
    self.hasIRQChip = hasIRQChip
    self.deadlineNS = deadlineNS
    self.name = name
    self.entry = entry
  }

  /// The same VM with another name and deadline.
  func renamed(_ name: String, deadlineNS: UInt64?) -> MachineConfiguration {
    MachineConfiguration(
      image: image, vcpus: vcpus, memoryMiB: memoryMiB, mechanism: mechanism, hasIRQChip: hasIRQChip,
      deadlineNS: deadlineNS, name: name, entry: entry)
  }
}

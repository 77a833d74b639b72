import Devices
import GuestImages
import GuestMemory

/// What one VM can take of the host, known before it is made. All memory that its guest can cause is in it.
public struct Footprint: Sendable, Equatable {
  /// Guest memory, what the guest may write to its block devices, and its console, in KiB.
  public var memoryKiB: Int
  /// File descriptors.
  public var descriptors: Int
  /// Memory mappings.
  public var mappings: Int
  /// Threads: one for each vCPU.
  public var threads: Int

  /// A VM of `image`. It takes a descriptor for the VM, one for each interrupt of its devices and two for each vCPU. It takes a
  /// mapping for the memory and one for what is written to block devices. It takes three mappings for each vCPU: its shared
  /// page, its thread's stack and the stack's guard.
  public init(image: GuestImage, vcpus: Int, memoryMiB: Int) {
    let platform = image.platform
    let overlayMiB = platform.overlayMiB(memoryBytes: UInt64(memoryMiB) << 20)
    memoryKiB = (memoryMiB + overlayMiB) << 10 + Console.mostBytes >> 10
    descriptors = 1 + platform.interruptCount + 2 * vcpus
    mappings = 1 + (overlayMiB > 0 ? 1 : 0) + 3 * vcpus
    threads = vcpus
  }
}

extension Platform {
  fileprivate var interruptCount: Int {
    switch self {
    case .minimal: [DeviceAttachment].minimal.descriptorCount
    case .pc: [DeviceAttachment].pc.descriptorCount
    case .solo5: 0
    }
  }

  fileprivate func overlayMiB(memoryBytes: UInt64) -> Int {
    guard case .solo5(let solo5) = self else { return 0 }
    let bytes = solo5.overlaySize(memoryBytes: memoryBytes).bytes
    return Int((bytes + (1 << 20) - 1) >> 20)
  }
}

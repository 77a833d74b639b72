import Devices
import GuestImages
import KVM

// What a platform needs of KVM and of firmware on this architecture, and on no other.

extension Platform {
  /// What firmware leaves in memory before the image is loaded.
  func firmware(_ attachments: [DeviceAttachment], vcpus: Int) -> [GuestSegment] {
    guard self == .pc else { return [] }
    return PCFirmware.pieces(attachments: attachments, vcpus: vcpus).map {
      GuestSegment(address: $0.address, bytes: $0.bytes)
    }
  }
}

extension VMDescriptor {
  /// Gives the VM the devices of `platform` that are in the kernel, beside its interrupt controllers.
  borrowing func prepare(for platform: Platform) throws(KVMError) {
    guard platform == .pc else { return }
    try createTimer()
    try routeInterrupts()
  }
}

extension VCPUDescriptor {
  /// Sets the registers that firmware of `platform` would have set.
  borrowing func prepare(for platform: Platform) throws(KVMError) {
    if platform == .pc { try loadFirmwareState() }
  }
}

import GuestImages
import GuestMemory
import KVM

extension GuestRAM {
  /// Puts a part of the image, or an argument, into its place. The image's bytes are read straight into guest
  /// memory: copied once.
  func put(_ segment: GuestSegment) throws(MachineCreationError) {
    let result: Result<Void, ImageReadError>
    do throws(GuestAddressError) {
      switch segment.contents {
      case .bytes(let bytes):
        try write(bytes, at: segment.address)
        return
      case .part(let part, let offset, let count):
        result = try fill(at: segment.address, count: count) { target throws(ImageReadError) in
          try part.read(at: offset, into: &target)
        }
      }
    } catch { throw .address(error) }
    do throws(ImageReadError) {
      try result.get()
    } catch { throw .image(.unreadable(error)) }
  }

  /// Makes it the memory of `vm`, which must be closed before `unmap`: a slot for each range. Where `logsWrites`, KVM keeps
  /// which pages the guest writes.
  func map(into vm: borrowing VMDescriptor, logsWrites: Bool) throws(KVMError) {
    var slot: UInt32 = 0
    // Safe: the memory is unmapped after the VM's descriptor and all its vCPUs' are closed.
    try unsafe withHostRanges { range, host throws(KVMError) in
      unsafe try vm.map(slot: slot, guestAddress: range.address, host: host, size: range.size, logsWrites: logsWrites)
      slot += 1
    }
  }
}

import Devices
import GuestImages
import GuestMemory
import KVM
import Synchronization

/// A VM's memory, which devices hold on to as long as they like: once the VM is taken apart, there is none.
final class SharedGuestMemory: GuestMemoryAccess {
  /// Guards the region against being unmapped while it is used; a leaf lock.
  private let region: Mutex<GuestMemoryRegion?>

  init(_ region: consuming GuestMemoryRegion) { self.region = Mutex(consume region) }

  /// Unmaps it. Whoever mapped it into a VM has closed that VM.
  func release() { region.withLock { $0 = nil } }

  /// Makes it the memory of `vm`, from address 0 on, which must be closed before `release`.
  func map(into vm: borrowing VMDescriptor) throws(KVMError) {
    try region.withLock { region -> Result<Void, KVMError> in
      guard let size = region?.size, let host = unsafe region?.hostAddress else { return .success(()) }
      do throws(KVMError) {
        // Safe: the region is unmapped after the VM's descriptor and all its vCPUs' are closed.
        return .success(unsafe try vm.map(slot: 0, guestAddress: 0, host: host, size: size))
      } catch { return .failure(error) }
    }.get()
  }

  /// A copy of up to `count` bytes at `address`, as far as there is memory.
  func bytes(at address: UInt64, upTo count: Int) -> [UInt8] {
    region.withLock { region in
      let size = region?.size ?? 0
      guard address < size else { return [] }
      return (try? region?.read(at: address, count: Int(min(UInt64(max(count, 0)), size - address)))) ?? []
    }
  }

  /// Puts a part of the image, or what the guest is told, where it belongs.
  func put(_ segment: GuestSegment) throws(MachineCreationError) {
    try region.withLock { region -> Result<Void, MachineCreationError> in
      do throws(MachineCreationError) {
        return .success(try region?.put(segment) ?? ())
      } catch { return .failure(error) }
    }.get()
  }

  // MARK: GuestMemoryAccess

  func check(_ address: UInt64, count: UInt64) throws(GuestAddressError) {
    let size = region.withLock { $0?.size ?? 0 }
    guard address <= size, count <= size - address else { throw GuestAddressError(address: address, count: count) }
  }

  func read(at address: UInt64, count: Int) throws(GuestAddressError) -> [UInt8] {
    let bytes = region.withLock { region in try? region?.read(at: address, count: max(count, 0)) }
    guard let bytes else { throw GuestAddressError(address: address, count: UInt64(max(count, 0))) }
    return bytes
  }

  func write(_ bytes: [UInt8], at address: UInt64) throws(GuestAddressError) {
    let isDone: Void? = region.withLock { region in try? region?.write(bytes, at: address) }
    if isDone == nil { throw GuestAddressError(address: address, count: UInt64(bytes.count)) }
  }
}

extension GuestMemoryRegion {
  /// What is in the image is read straight into guest memory: copied once.
  borrowing func put(_ segment: GuestSegment) throws(MachineCreationError) {
    let result: Result<Void, ImageReadError>
    do throws(GuestMemoryError) {
      switch segment.contents {
      case .bytes(let bytes):
        try write(bytes, at: segment.address)
        return
      case .part(let part, let offset, let count):
        result = try fill(at: segment.address, count: count) { target throws(ImageReadError) in
          try part.read(at: offset, into: &target)
        }
      }
    } catch { throw .memory(error) }
    do throws(ImageReadError) {
      try result.get()
    } catch { throw .image(.unreadable(error)) }
  }
}

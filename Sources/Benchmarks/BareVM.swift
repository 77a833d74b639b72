import CBareKVM
import Glibc
import GuestImages
import LinuxSupport
import VCPURuntime

/// The yardstick's access to the host: plain ioctls in C.
@safe final class BareHost {
  private let host: OpaquePointer

  init() throws(BenchmarkError) {
    var opened: OpaquePointer?
    let result = unsafe barekvm_open(&opened)  // Safe: a local outlives the call.
    guard let opened = unsafe opened else { throw .bare("opening /dev/kvm", errno: -result) }
    unsafe host = opened
  }

  deinit {
    // Safe: opened once, and every VM that was made with it holds it.
    unsafe barekvm_close(host)
  }

  func create(_ guest: BuiltinGuest, memoryMiB: Int, mechanism: KickMechanism) throws(BenchmarkError) -> BareVM {
    try BareVM(self, guest.code, memoryBytes: memoryMiB << 20, mechanism: mechanism)
  }

  fileprivate func make(_ code: [UInt8], _ memoryBytes: Int, _ mechanism: barekvm_mechanism) -> (OpaquePointer?, Int32)
  {
    var vm: OpaquePointer?
    // Safe: the array and the local outlive the call, which copies the code.
    let result = unsafe barekvm_create(host, code, code.count, memoryBytes, mechanism, &vm)
    return unsafe (vm, result)
  }
}

/// The yardstick: a VM of one vCPU, written by hand in C. To be used by one thread.
@safe struct BareVM: ~Copyable {
  private let vm: OpaquePointer
  private let host: BareHost

  fileprivate init(
    _ host: BareHost, _ code: [UInt8], memoryBytes: Int, mechanism: KickMechanism
  ) throws(BenchmarkError) {
    let bare = mechanism == .immediateExit ? BAREKVM_IMMEDIATE_EXIT : BAREKVM_SIGNAL_MASK
    let (made, result) = unsafe host.make(code, memoryBytes, bare)
    guard let made = unsafe made else { throw .bare("creating a VM", errno: -result) }
    unsafe vm = made
    self.host = host
  }

  deinit {
    // Safe: made once, here and below: `vm` lives as long as this value.
    unsafe barekvm_destroy(vm)
  }

  borrowing func run() { unsafe barekvm_run(vm) }

  borrowing func park() throws(BenchmarkError) {
    let result = unsafe barekvm_park(vm)
    guard result == 0 else { throw .bare("parking the vCPU", errno: -result) }
  }

  /// Kicks the vCPU; nil when it did not acknowledge within a second.
  borrowing func kick() throws(BenchmarkError) -> KickSample? {
    var kick = barekvm_kick()
    let result = unsafe barekvm_kick(vm, &kick)
    if result == -ETIMEDOUT { return nil }
    guard result == 0 else { throw .bare("kicking the vCPU", errno: -result) }
    return KickSample(latencyNS: kick.latency_ns, callNS: kick.call_ns)
  }

  /// Exits served so far. Throws when the vCPU has stopped of itself.
  borrowing func exits() throws(BenchmarkError) -> UInt64 {
    let stopped = unsafe barekvm_stopped(vm)
    guard stopped == 0 else { throw .stopped("the bare loop's vCPU (exit reason or -errno: \(stopped))") }
    return unsafe barekvm_exits(vm)
  }

  /// Copies `count` bytes out of the VM's memory at `address`; the range must be inside it.
  borrowing func memory(at address: Int, count: Int) -> [UInt8] {
    // Safe: the memory stays mapped as long as this value lives.
    unsafe [UInt8](UnsafeRawBufferPointer(start: barekvm_memory(vm) + address, count: count))
  }
}

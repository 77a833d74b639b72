import CBareKVM
internal import ComparedKicks
import Glibc
import GuestImages

/// The bare C loop's access to the host: plain ioctls.
@safe final class BareHost {
  private let host: OpaquePointer

  init() throws(BenchmarkError) {
    var opened: OpaquePointer?
    let result = unsafe barekvm_open(&opened)  // Safe: a local outlives the call.
    guard let opened = unsafe opened else { throw .bare("opening /dev/kvm", errno: -result) }
    unsafe host = opened
  }

  deinit {
    // Safe: `init` opened it once, and each VM that was made with it was destroyed before, or holds it.
    unsafe barekvm_close(host)
  }

  func create(
    _ guest: BenchmarkGuest, vcpus: Int, memoryMiB: Int, mechanism: ComparedMechanism
  ) throws(BenchmarkError) -> BareVM {
    let code = guest.code
    var vm: OpaquePointer?
    // Safe: the array and the locals outlive the call, which copies the code.
    let result = unsafe code.withUnsafeBytes { bytes -> Int32 in
      guard let start = bytes.baseAddress else { return -EINVAL }
      var options = unsafe barekvm_options(
        code: start, code_size: bytes.count,
        memory_size: memoryMiB << 20, vcpus: Int32(vcpus), ring: Int32(guest.ring), has_irqchip: guest.hasIRQChip,
        mechanism: mechanism.inBareC)
      return unsafe barekvm_create(host, &options, &vm)
    }
    guard let made = unsafe vm else { throw .bare("creating a VM", errno: -result) }
    return unsafe BareVM(made, vcpus: vcpus, host: self)
  }
}

extension ComparedMechanism {
  fileprivate var inBareC: barekvm_mechanism {
    switch self {
    case .immediateExit: BAREKVM_IMMEDIATE_EXIT
    case .signalMask: BAREKVM_SIGNAL_MASK
    case .ipFixup: BAREKVM_IP_FIXUP
    case .signalOnly: BAREKVM_SIGNAL_ONLY
    }
  }
}

// Safe, in all of this file: barekvm_create made `vm`, and its owner calls `destroy` last. The C functions may be called
// from any thread, and write only to locals that outlive the call.

/// The side to compare with: a VM written by hand in C. Any thread may call it.
@safe final class BareVM: BenchmarkVM, @unchecked Sendable {
  private let vm: OpaquePointer
  private let host: BareHost
  let vcpuCount: Int

  @unsafe fileprivate init(_ vm: OpaquePointer, vcpus: Int, host: BareHost) {
    unsafe self.vm = vm
    vcpuCount = vcpus
    self.host = host
  }

  func destroy() {
    unsafe barekvm_destroy(vm)
  }

  func start() throws(BenchmarkError) { try check(unsafe barekvm_run(vm), "starting the vCPUs") }

  func askToStop() throws(BenchmarkError) { try check(unsafe barekvm_ask_to_park(vm), "asking the vCPUs to park") }

  func park() throws(BenchmarkError) { try check(unsafe barekvm_park(vm), "parking the vCPUs") }

  func kick(_ vcpu: Int, patienceNS: UInt64) throws(BenchmarkError) -> KickSample? {
    var kick = barekvm_kick()
    let result = unsafe barekvm_kick(vm, Int32(vcpu), patienceNS, &kick)
    if result == -ETIMEDOUT { return nil }
    try check(result, "kicking a vCPU")
    return KickSample(latencyNS: kick.latency_ns, signalNS: kick.signal_ns == 0 ? nil : kick.signal_ns)
  }

  func kickAll(patienceNS: UInt64) throws(BenchmarkError) -> Bool {
    let result = unsafe barekvm_kick_all(vm, patienceNS)
    if result == -ETIMEDOUT { return false }
    try check(result, "kicking all vCPUs")
    return true
  }

  func exits() -> UInt64 { unsafe barekvm_exits(vm) }

  func checkThatItRuns() throws(BenchmarkError) {
    let stopped = unsafe barekvm_stopped(vm)
    guard stopped == 0 else { throw .stopped("a vCPU of the bare loop (exit reason or -errno: \(stopped))") }
  }

  /// Copies `count` bytes out of the VM's memory at `address`; the range must be inside it.
  func memory(at address: Int, count: Int) -> [UInt8] {
    // Safe: the caller promises the range, and the memory lives as long as the VM.
    unsafe [UInt8](UnsafeRawBufferPointer(start: barekvm_memory(vm) + address, count: count))
  }

  private func check(_ result: Int32, _ operation: String) throws(BenchmarkError) {
    guard result == 0 else { throw .bare(operation, errno: -result) }
  }
}

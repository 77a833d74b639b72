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
    try create(
      guest.code, ring: guest.ring, hasIRQChip: guest.hasIRQChip, vcpus: vcpus, memoryMiB: memoryMiB,
      mechanism: mechanism)
  }

  func create(
    _ code: [UInt8], ring: Int, hasIRQChip: Bool = false, vcpus: Int = 1, memoryMiB: Int, mechanism: ComparedMechanism
  ) throws(BenchmarkError) -> BareVM {
    var vm: OpaquePointer?
    // Safe: the array and the locals outlive the call, which copies the code.
    let result = unsafe code.withUnsafeBytes { bytes -> Int32 in
      guard let start = bytes.baseAddress else { return -EINVAL }
      var options = unsafe barekvm_options(
        code: start, code_size: bytes.count,
        memory_size: memoryMiB << 20, vcpus: Int32(vcpus), ring: Int32(ring), has_irqchip: hasIRQChip,
        mechanism: mechanism.inBareC)
      return unsafe barekvm_create(host, &options, &vm)
    }
    guard let made = unsafe vm else { throw .bare("creating a VM", errno: -result) }
    return unsafe BareVM(made, vcpus: vcpus, host: self)
  }

  /// Freezes `vm`, which has one vCPU, no interrupt controllers, and has never run.
  func freeze(_ vm: BareVM) throws(BenchmarkError) -> BareTemplate {
    var template: OpaquePointer?
    let result = unsafe barekvm_freeze(host, vm.vm, &template)  // Safe: a local outlives the call.
    guard let made = unsafe template else { throw .bare("freezing a VM", errno: -result) }
    return unsafe BareTemplate(made, host: self)
  }

  fileprivate func clone(
    _ template: BareTemplate, _ mechanism: ComparedMechanism
  ) throws(BenchmarkError) -> BareVM {
    var vm: OpaquePointer?
    // Safe: a local outlives the call, and the clone holds its template.
    let result = unsafe barekvm_clone(host, template.template, mechanism.inBareC, &vm)
    guard let made = unsafe vm else { throw .bare("cloning a VM", errno: -result) }
    return unsafe BareVM(made, vcpus: 1, host: self, template: template)
  }
}

/// What the yardstick's clones begin with. Any thread.
@safe final class BareTemplate: @unchecked Sendable {
  // Safe to share: it does not change after it was made.
  fileprivate let template: OpaquePointer
  private let host: BareHost

  @unsafe fileprivate init(_ template: OpaquePointer, host: BareHost) {
    // Safe: barekvm_freeze made it, and `deinit` frees it.
    unsafe self.template = template
    self.host = host
  }

  deinit {
    // Safe: its clones hold this object, so the last of them is gone.
    unsafe barekvm_free_template(template)
  }

  func clone(mechanism: ComparedMechanism) throws(BenchmarkError) -> BareVM { try host.clone(self, mechanism) }
}

/// A guest that writes a byte to each of some pages from 1 MiB on, and ends.
enum TouchGuest {
  /// Its code, which runs in ring 3. The number of pages stands in the last four bytes.
  static func code(pages: Int) -> [UInt8] {
    var size = 0
    // Safe: the code stands in the program's read-only data, and is as long as was just said.
    let start = unsafe barekvm_touch_code(&size)
    let bytes = unsafe UnsafeRawBufferPointer(start: start, count: size)
    let count = (0..<4).map { UInt8(truncatingIfNeeded: pages >> (8 * $0)) }
    return unsafe [UInt8](bytes.dropLast(4)) + count  // Safe: as above.
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
  fileprivate let vm: OpaquePointer
  private let host: BareHost
  private let template: BareTemplate?
  let vcpuCount: Int

  @unsafe fileprivate init(_ vm: OpaquePointer, vcpus: Int, host: BareHost, template: BareTemplate? = nil) {
    unsafe self.vm = vm
    vcpuCount = vcpus
    self.host = host
    self.template = template
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

  /// Waits until the guest has ended.
  func awaitEnd() throws(BenchmarkError) { try check(unsafe barekvm_await_end(vm), "waiting for the guest's end") }

  /// Puts a clone whose guest has ended back to its template, and returns how many pages it copied.
  func reset() throws(BenchmarkError) -> Int {
    guard let template else { throw .bare("resetting a VM that is no clone", errno: EINVAL) }
    let result = unsafe barekvm_reset(vm, template.template)
    guard result >= 0 else { throw .bare("resetting a clone", errno: -result) }
    return Int(result)
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

import CKVM
import KVM

// What is said of a guest that could not go on: by the vCPU's own thread, which has just left KVM_RUN. Its registers can
// be read there and then.
extension VCPU {
  /// What the exit `reason`, from which the guest does not go on, was, and where.
  func describeCrash(_ reason: UInt32) -> String {
    switch Int32(truncatingIfNeeded: reason) {
    case KVM_EXIT_SHUTDOWN: "triple fault" + place()
    case KVM_EXIT_FAIL_ENTRY: "the processor refused to enter the guest, hardware reason \(hardwareReason)" + place()
    case KVM_EXIT_UNKNOWN: "the processor left the guest for a reason unknown to KVM, \(hardwareReason)" + place()
    case KVM_EXIT_INTERNAL_ERROR: describeInternalError()
    default: "KVM exit \(reason) (\(ExitReason.name(of: reason))), which this server does not serve" + place()
    }
  }

  private var hardwareReason: String { Self.hexadecimal(control.hardwareReason) }

  private func describeInternalError() -> String {
    switch Int32(truncatingIfNeeded: control.internalError) {
    case KVM_INTERNAL_ERROR_EMULATION: describeEmulationFailure()
    case KVM_INTERNAL_ERROR_SIMUL_EX: "KVM internal error 2 (two exceptions at once)" + place()
    case KVM_INTERNAL_ERROR_DELIVERY_EV: "KVM internal error 3 (an exit while an event was delivered)" + place()
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: "KVM internal error 4 (an unexpected exit)" + place()
    case let other: "KVM internal error \(other)" + place()
    }
  }

  private func describeEmulationFailure() -> String {
    var sentence = "KVM could not emulate "
    let bytes = control.failedInstruction ?? crashRegisters.map { instructionBytes(at: $0.linear) } ?? []
    if bytes.isEmpty {
      sentence += "an instruction"
    } else {
      let listing = bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }
      sentence += "the instruction \(listing.joined(separator: " "))"
    }
    sentence += place()
    if KVMSystem.emulatesRing0 {
      sentence += """
        . This host's KVM is a paravirtual one (kvm_pvm), which emulates kernel code in software and does not know every \
        instruction. Run the guest on a host with kvm_amd or kvm_intel
        """
    }
    return sentence
  }

  /// Where the guest stands, as the end of a sentence: RIP as a linear address, and CR2 and CR3, where a fault came from.
  func place() -> String {
    guard let registers = crashRegisters else { return "" }
    if registers.wereReset { return ", where is not known: this host's KVM resets the processor after a triple fault" }
    return " at \(Self.hexadecimal(registers.linear)) (cr2 \(Self.hexadecimal(registers.cr2)), "
      + "cr3 \(Self.hexadecimal(registers.cr3)))"
  }

  private static func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

  private struct CrashRegisters {
    let linear: UInt64
    let cr2: UInt64
    let cr3: UInt64
    /// They are those of a processor after INIT: what kvm_amd makes of a vCPU whose state the processor has lost.
    let wereReset: Bool
  }

  private var crashRegisters: CrashRegisters? {
    var regs = kvm_regs()
    var sregs = kvm_sregs()
    // Safe: locals outlive the calls; the descriptor is open while this thread lives.
    guard unsafe ckvm_get_regs(control.descriptor, &regs) == 0 else { return nil }
    guard unsafe ckvm_get_sregs(control.descriptor, &sregs) == 0 else { return nil }
    return CrashRegisters(
      linear: sregs.cs.base &+ regs.rip, cr2: sregs.cr2, cr3: sregs.cr3,
      wereReset: sregs.cs.base == 0xFFFF_0000 && regs.rip == 0xFFF0)
  }

  /// The bytes from the linear address `address` on, to the end of their page at most.
  private func instructionBytes(at address: UInt64) -> [UInt8] {
    // Safe: the descriptor is open while this thread lives.
    let physical = ckvm_translate(control.descriptor, address)
    guard physical != .max else { return [] }
    return handler.guestMemory(at: physical, count: Int(min(15, 4096 - physical % 4096)))
  }
}

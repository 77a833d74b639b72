import CKVM
import KVM

extension VCPU {
  /// What KVM could not emulate, and where. By the vCPU's own thread, which has just left KVM_RUN with that exit.
  func describeEmulationFailure() -> String {
    var sentence = "KVM could not emulate "
    let address = instructionAddress
    let bytes = failedInstruction ?? address.map(instructionBytes) ?? []
    if bytes.isEmpty {
      sentence += "an instruction"
    } else {
      let listing = bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }
      sentence += "the instruction \(listing.joined(separator: " "))"
    }
    if let address { sentence += " at 0x\(String(address, radix: 16))" }
    if KVMSystem.emulatesRing0 {
      sentence += """
        . This host's KVM is a paravirtual one (kvm_pvm), which emulates kernel code in software and does not know every \
        instruction. Run the guest on a host with kvm_amd or kvm_intel
        """
    }
    return sentence
  }

  /// The instruction as KVM tells it: none from older kernels.
  private var failedInstruction: [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: 15)
    // Safe: the shim writes at most 15 bytes.
    let count = unsafe ckvm_failed_instruction(control, &bytes)
    return count > 0 ? Array(bytes.prefix(Int(count))) : nil
  }

  /// RIP, as a linear address.
  private var instructionAddress: UInt64? {
    var regs = kvm_regs()
    var sregs = kvm_sregs()
    // Safe: locals outlive the calls; the descriptor is open while this thread lives.
    guard unsafe ckvm_get_regs(control.pointee.fd, &regs) == 0 else { return nil }
    guard unsafe ckvm_get_sregs(control.pointee.fd, &sregs) == 0 else { return nil }
    return sregs.cs.base &+ regs.rip
  }

  /// The bytes from the linear address `address` on, to the end of their page at most.
  private func instructionBytes(at address: UInt64) -> [UInt8] {
    // Safe: the descriptor is open while this thread lives.
    let physical = unsafe ckvm_translate(control.pointee.fd, address)
    guard physical != .max else { return [] }
    return handler.guestMemory(at: physical, count: Int(min(15, 4096 - physical % 4096)))
  }
}

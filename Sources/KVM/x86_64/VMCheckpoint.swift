import CKVM

/// All that KVM keeps of a VM beside its memory and its vCPUs, as the kernel's own structures.
public struct VMCheckpoint: Sendable {
  /// A structure of the kernel's, in the order in which they are put back.
  enum Part: UInt32, CaseIterable {
    case firstPIC, secondPIC, ioAPIC, intervalTimer, clock

    var inC: ckvm_vm_part { ckvm_vm_part(rawValue) }
  }

  struct Structure: Sendable, Equatable {
    let part: Part
    var bytes: [UInt8]
  }

  var structures: [Structure]

  /// Which parts differ from those of `other`. Clocks, which go on by themselves, are left out.
  public func differences(from other: VMCheckpoint) -> [String] {
    zip(structures, other.structures).filter { own, theirs in
      own != theirs && own.part != .clock && own.part != .intervalTimer
    }.map { own, _ in "\(own.part)" }
  }
}

extension VMDescriptor {
  /// Reads all that KVM keeps of the VM, whose vCPUs stand still. `hasTimer`: KVM has its interval timer.
  public borrowing func checkpoint(hasIRQChip: Bool, hasTimer: Bool) throws(KVMError) -> VMCheckpoint {
    var structures: [VMCheckpoint.Structure] = []
    for part in VMCheckpoint.Part.allCases {
      switch part {
      case .firstPIC, .secondPIC, .ioAPIC: guard hasIRQChip else { continue }
      case .intervalTimer: guard hasTimer else { continue }
      case .clock: break
      }
      var bytes = [UInt8](repeating: 0, count: ckvm_vm_part_size(part.inC))
      // Safe: the shim writes as many bytes as it says that the part has.
      try request("reading a VM's \(part)", unsafe ckvm_get_vm_part(rawValue, part.inC, &bytes))
      structures.append(VMCheckpoint.Structure(part: part, bytes: bytes))
    }
    return VMCheckpoint(structures: structures)
  }

  /// Puts back what `checkpoint` has read of this VM, or of one like it. Its vCPUs stand still. After an error the VM is a
  /// mixture, and must not run.
  public borrowing func restore(_ checkpoint: VMCheckpoint) throws(KVMError) {
    for structure in checkpoint.structures {
      guard structure.bytes.count == ckvm_vm_part_size(structure.part.inC) else {
        throw KVMError(request: "setting a VM's \(structure.part), whose size is wrong,", errno: .invalidArgument)
      }
      // Safe: the kernel reads as many bytes as the part has, which were just counted.
      let result = unsafe ckvm_set_vm_part(rawValue, structure.part.inC, structure.bytes)
      if result < 0 { try request("setting a VM's \(structure.part)", result) }
    }
  }

  /// Reads, and clears, which pages of slot `slot` the guest wrote since the last call (KVM_GET_DIRTY_LOG): a bit each, from
  /// bit `firstPage` of `log` on, a multiple of 64. The slot's writes are logged.
  public borrowing func takeDirtyLog(slot: UInt32, firstPage: Int, into log: inout [UInt64]) throws(KVMError) {
    precondition(firstPage % 64 == 0 && firstPage / 64 < log.count, "a log without room for its slot")
    // Safe: the caller's log has a bit for each page of the slot, rounded up to whole words.
    let result = unsafe log.withUnsafeMutableBufferPointer { words in
      unsafe words.baseAddress.map { unsafe ckvm_dirty_log(rawValue, slot, $0.advanced(by: firstPage / 64)) } ?? 0
    }
    try request("KVM_GET_DIRTY_LOG", result)
  }
}

import CKVM

/// Returns from KVM_RUN by reason: the kernel's KVM_EXIT_ numbers with their names, for counts and labels.
public enum ExitReason {
  /// The names by number; numbers beyond share the last name.
  public static let names: [String] = {
    var names = (0..<Int(CKVM_EXIT_REASONS)).map { _ in "other" }
    let known: [(Int32, String)] = [
      (KVM_EXIT_UNKNOWN, "unknown"), (KVM_EXIT_EXCEPTION, "exception"), (KVM_EXIT_IO, "io"),
      (KVM_EXIT_HYPERCALL, "hypercall"), (KVM_EXIT_DEBUG, "debug"), (KVM_EXIT_HLT, "hlt"), (KVM_EXIT_MMIO, "mmio"),
      (KVM_EXIT_IRQ_WINDOW_OPEN, "irq_window_open"), (KVM_EXIT_SHUTDOWN, "shutdown"),
      (KVM_EXIT_FAIL_ENTRY, "fail_entry"), (KVM_EXIT_INTR, "intr"), (KVM_EXIT_SET_TPR, "set_tpr"),
      (KVM_EXIT_TPR_ACCESS, "tpr_access"), (KVM_EXIT_NMI, "nmi"), (KVM_EXIT_INTERNAL_ERROR, "internal_error"),
      (KVM_EXIT_SYSTEM_EVENT, "system_event"), (KVM_EXIT_IOAPIC_EOI, "ioapic_eoi"), (KVM_EXIT_X86_RDMSR, "rdmsr"),
      (KVM_EXIT_X86_WRMSR, "wrmsr"), (KVM_EXIT_DIRTY_RING_FULL, "dirty_ring_full"),
      (KVM_EXIT_X86_BUS_LOCK, "bus_lock"), (KVM_EXIT_NOTIFY, "notify"),
    ]
    for (number, name) in known { names[Int(number)] = name }
    return names
  }()

  /// Names of all counters a vCPU keeps: the kernel's reasons, `intr` (returned with -EINTR from the guest), `entry`
  /// (returned with -EINTR without entering) and `error` (KVM_RUN failed).
  public static let labels: [String] = Array(Set(names)).sorted() + ["entry", "error"]
}

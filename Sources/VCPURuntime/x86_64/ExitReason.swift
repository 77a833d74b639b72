import CKVM

/// Returns from KVM_RUN by reason: the kernel's KVM_EXIT_ numbers with their names, for counts and labels.
public enum ExitReason {
  /// The names by number; numbers beyond share the last name.
  public static let names: [String] = (0..<UInt32(CKVM_EXIT_REASONS)).map(name)

  /// Names of all counters a vCPU keeps. Beside the kernel's reasons these are `intr` (returned with -EINTR from the guest)
  /// and `entry` (returned with -EINTR without entering). `start` is a return with -EAGAIN, before another vCPU has started
  /// this one; `error` is any other failure.
  public static let labels: [String] = Array(Set(names)).sorted() + ["entry", "start", "error"]

  /// What a vCPU does about an exit.
  enum Response: Sendable {
    /// Serves a port or memory access, and goes on.
    case access
    /// Goes on.
    case resume
    /// The guest has halted, and nothing can wake it.
    case halt
    /// Asks the event what it means.
    case systemEvent
    /// The guest, or its execution, has failed.
    case crash
    /// KVM makes this exit only for a capability that the server does not enable, or on another architecture.
    case unserved
  }

  /// What is done about each exit of `linux/kvm.h` up to Linux 6.14; nil for one that is newer.
  ///
  /// A switch, and no table in memory: the exit loop asks.
  static func response(to reason: UInt32) -> Response? {
    switch Int32(truncatingIfNeeded: reason) {
    case KVM_EXIT_IO, KVM_EXIT_MMIO: .access
    // An interrupt could be injected, or CR8 is lower: news for an interrupt controller in user space, which we do not
    // have. -EINTR comes with INTR.
    case KVM_EXIT_INTR, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_SET_TPR: .resume
    case KVM_EXIT_HLT: .halt
    case KVM_EXIT_SYSTEM_EVENT: .systemEvent
    case KVM_EXIT_UNKNOWN, KVM_EXIT_SHUTDOWN, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR: .crash
    // Capabilities that are not enabled: KVM_SET_GUEST_DEBUG, KVM_TPR_ACCESS_REPORTING, KVM_CAP_EXIT_HYPERCALL,
    // KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_HYPERV_SYNIC, KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_DIRTY_LOG_RING, SEV-ES,
    // KVM_CAP_X86_BUS_LOCK_EXIT, KVM_CAP_XEN_HVM, KVM_CAP_X86_NOTIFY_VMEXIT, and KVM_CAP_EXIT_ON_MISSING or guest_memfd
    // (39). KVM has long ceased to make EXCEPTION and NMI.
    case KVM_EXIT_DEBUG, KVM_EXIT_TPR_ACCESS, KVM_EXIT_HYPERCALL, KVM_EXIT_IOAPIC_EOI, KVM_EXIT_HYPERV,
      KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR, KVM_EXIT_DIRTY_RING_FULL, KVM_EXIT_AP_RESET_HOLD, KVM_EXIT_X86_BUS_LOCK,
      KVM_EXIT_XEN, KVM_EXIT_NOTIFY, 39, KVM_EXIT_EXCEPTION, KVM_EXIT_NMI:
      .unserved
    // Other architectures; 38 is LoongArch's.
    case KVM_EXIT_S390_SIEIC, KVM_EXIT_S390_RESET, KVM_EXIT_S390_UCONTROL, KVM_EXIT_S390_TSCH, KVM_EXIT_S390_STSI,
      KVM_EXIT_DCR, KVM_EXIT_OSI, KVM_EXIT_PAPR_HCALL, KVM_EXIT_WATCHDOG, KVM_EXIT_EPR, KVM_EXIT_ARM_NISV,
      KVM_EXIT_RISCV_SBI, KVM_EXIT_RISCV_CSR, 38:
      .unserved
    default: nil
    }
  }

  /// The name of an exit that a processor like ours may make; `other` for the rest.
  static func name(of reason: UInt32) -> String {
    switch Int32(truncatingIfNeeded: reason) {
    case KVM_EXIT_UNKNOWN: "unknown"
    case KVM_EXIT_EXCEPTION: "exception"
    case KVM_EXIT_IO: "io"
    case KVM_EXIT_HYPERCALL: "hypercall"
    case KVM_EXIT_DEBUG: "debug"
    case KVM_EXIT_HLT: "hlt"
    case KVM_EXIT_MMIO: "mmio"
    case KVM_EXIT_IRQ_WINDOW_OPEN: "irq_window_open"
    case KVM_EXIT_SHUTDOWN: "shutdown"
    case KVM_EXIT_FAIL_ENTRY: "fail_entry"
    case KVM_EXIT_INTR: "intr"
    case KVM_EXIT_SET_TPR: "set_tpr"
    case KVM_EXIT_TPR_ACCESS: "tpr_access"
    case KVM_EXIT_NMI: "nmi"
    case KVM_EXIT_INTERNAL_ERROR: "internal_error"
    case KVM_EXIT_SYSTEM_EVENT: "system_event"
    case KVM_EXIT_IOAPIC_EOI: "ioapic_eoi"
    case KVM_EXIT_X86_RDMSR: "rdmsr"
    case KVM_EXIT_X86_WRMSR: "wrmsr"
    case KVM_EXIT_DIRTY_RING_FULL: "dirty_ring_full"
    case KVM_EXIT_X86_BUS_LOCK: "bus_lock"
    case KVM_EXIT_NOTIFY: "notify"
    default: "other"
    }
  }
}

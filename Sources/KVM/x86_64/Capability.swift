import CKVM

/// What KVM_CHECK_EXTENSION can be asked. The names are the kernel's, without `KVM_CAP_`, in lower case.
public enum Capability: String, CaseIterable, Sendable {
  case userMemory = "user_memory"
  case immediateExit = "immediate_exit"
  case nrVCPUs = "nr_vcpus"
  case maxVCPUs = "max_vcpus"
  case nrMemslots = "nr_memslots"
  case extCPUID = "ext_cpuid"
  case irqchip = "irqchip"
  case setTSSAddress = "set_tss_addr"
  case binaryStatsFD = "binary_stats_fd"
  case syncRegs = "sync_regs"
  case tscDeadlineTimer = "tsc_deadline_timer"
  case irqfd
  case ioeventfd
  case mpState = "mp_state"
  case readonlyMem = "readonly_mem"
  case manualDirtyLogProtect2 = "manual_dirty_log_protect2"
  case dirtyLogRing = "dirty_log_ring"
  case xcrs
  case xsave2
  case sregs2
  case exitOnEmulationFailure = "exit_on_emulation_failure"

  /// Those without which no VM can be run.
  static let needed: [Capability] = [.userMemory, .extCPUID]

  /// The number that the kernel knows it by.
  var number: Int32 {
    switch self {
    case .userMemory: KVM_CAP_USER_MEMORY
    case .immediateExit: KVM_CAP_IMMEDIATE_EXIT
    case .nrVCPUs: KVM_CAP_NR_VCPUS
    case .maxVCPUs: KVM_CAP_MAX_VCPUS
    case .nrMemslots: KVM_CAP_NR_MEMSLOTS
    case .extCPUID: KVM_CAP_EXT_CPUID
    case .irqchip: KVM_CAP_IRQCHIP
    case .setTSSAddress: KVM_CAP_SET_TSS_ADDR
    case .binaryStatsFD: KVM_CAP_BINARY_STATS_FD
    case .syncRegs: KVM_CAP_SYNC_REGS
    case .tscDeadlineTimer: KVM_CAP_TSC_DEADLINE_TIMER
    case .irqfd: KVM_CAP_IRQFD
    case .ioeventfd: KVM_CAP_IOEVENTFD
    case .mpState: KVM_CAP_MP_STATE
    case .readonlyMem: KVM_CAP_READONLY_MEM
    case .manualDirtyLogProtect2: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2
    case .dirtyLogRing: KVM_CAP_DIRTY_LOG_RING
    case .xcrs: KVM_CAP_XCRS
    case .xsave2: KVM_CAP_XSAVE2
    case .sregs2: KVM_CAP_SREGS2
    case .exitOnEmulationFailure: KVM_CAP_EXIT_ON_EMULATION_FAILURE
    }
  }

  /// The kernel's symbol, such as `KVM_CAP_IMMEDIATE_EXIT`.
  public var symbol: String { "KVM_CAP_" + rawValue.uppercased() }
}

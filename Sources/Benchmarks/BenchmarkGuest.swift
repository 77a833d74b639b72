import GuestImages

/// What vCPUs run while they are measured.
public enum BenchmarkGuest: String, Sendable, CaseIterable {
  /// A busy loop in ring 3. Only a kick takes it out of KVM_RUN.
  case spin
  /// The same in ring 0, which some hosts emulate.
  case spinRing0 = "spin_ring0"
  /// Nothing but exits by port, in ring 3.
  case pio
  /// Nothing but exits by memory, in ring 3.
  case mmio
  /// Halts. Without the kernel's interrupt controllers HLT is an exit, after which the vCPU's thread sleeps.
  case halt
  /// Halts, and sleeps in KVM_RUN: the VM has the kernel's interrupt controllers.
  case haltIRQChip = "halt_irqchip"

  var image: GuestImage {
    switch self {
    case .spin, .pio, .mmio: .builtin(builtin)
    case .spinRing0, .halt, .haltIRQChip: .flat(FlatImage(mode: .long64, code: builtin.code))
    }
  }

  var code: [UInt8] { builtin.code }

  var ring: Int {
    switch self {
    case .spin, .pio, .mmio: 3
    case .spinRing0, .halt, .haltIRQChip: 0
    }
  }

  var hasIRQChip: Bool { self == .haltIRQChip }

  /// Whether its vCPUs leave KVM_RUN for good.
  var staysHalted: Bool { self == .halt }

  private var builtin: BuiltinGuest {
    let name =
      switch self {
      case .spin, .spinRing0: "spin"
      case .pio: "pio"
      case .mmio: "mmio"
      case .halt, .haltIRQChip: "halt"
      }
    guard let guest = BuiltinGuest.named(name) else { preconditionFailure("there is no built-in guest \(name)") }
    return guest
  }
}

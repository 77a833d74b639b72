import CKVM

/// What one vCPU counted, or several summed up. The numbers only grow.
public struct VCPUCounts: Sendable, Equatable {
  /// Returns from KVM_RUN with a reason, by the kernel's number; empty while there were none.
  var byReason: [UInt64] = []
  /// KVM_RUN returned -EINTR.
  public internal(set) var eintrReturns: UInt64 = 0
  /// … of those: because the kernel saw `immediate_exit` and did not enter the guest.
  public internal(set) var entryExits: UInt64 = 0
  /// … of those: without a request, because a signal arrived after its request had been served.
  public internal(set) var spuriousReturns: UInt64 = 0
  /// KVM_RUN returned -EAGAIN: a vCPU that another one starts says it each time.
  public internal(set) var starts: UInt64 = 0
  /// KVM_RUN failed with another error.
  public internal(set) var runErrors: UInt64 = 0
  var landed: InlineArray<4, UInt64> = .init(repeating: 0)
  /// Kicks that were not acknowledged in time.
  public internal(set) var kickTimeouts: UInt64 = 0
  /// The kernel's own count of returns to user space because of a signal.
  public internal(set) var kernelSignalExits: UInt64 = 0
  /// How long the threads of its vCPUs were on a processor, guest and host together.
  public internal(set) var runningNS: UInt64 = 0
  /// How long they were runnable and had no processor.
  public internal(set) var waitingNS: UInt64 = 0

  /// Nothing counted.
  public init() {}

  /// Returns from KVM_RUN by name, those that did not occur left out: the kernel's reasons, `intr` (-EINTR from the
  /// guest), `entry` (-EINTR without entering it), `start` (-EAGAIN, before another vCPU has started this one)
  /// and `error`.
  public var exits: [String: UInt64] {
    var exits: [String: UInt64] = [:]
    for (number, count) in byReason.enumerated() where count > 0 {
      exits[ExitReason.names[number], default: 0] += count
    }
    // Read one after the other while the vCPU runs, so the part may be ahead of the whole.
    let interrupted = eintrReturns - min(entryExits, eintrReturns)
    if interrupted > 0 { exits["intr", default: 0] += interrupted }
    if entryExits > 0 { exits["entry"] = entryExits }
    if starts > 0 { exits["start"] = starts }
    if runErrors > 0 { exits["error"] = runErrors }
    return exits
  }

  /// Acknowledged kicks by where they landed.
  public var kicks: [KickPhase: UInt64] {
    Dictionary(uniqueKeysWithValues: KickPhase.allCases.map { ($0, landed[Int($0.rawValue)]) })
  }

  /// Whether both counted the same.
  public static func == (left: VCPUCounts, right: VCPUCounts) -> Bool {
    left.exits == right.exits && left.kicks == right.kicks && left.eintrReturns == right.eintrReturns
      && left.spuriousReturns == right.spuriousReturns && left.kickTimeouts == right.kickTimeouts
      && left.kernelSignalExits == right.kernelSignalExits
  }

  /// Adds what others counted.
  public static func += (left: inout VCPUCounts, right: VCPUCounts) {
    left.addReasons { number in right.byReason.isEmpty ? 0 : right.byReason[number] }
    left.eintrReturns += right.eintrReturns
    left.entryExits += right.entryExits
    left.spuriousReturns += right.spuriousReturns
    left.starts += right.starts
    left.runErrors += right.runErrors
    for phase in 0..<4 { left.landed[phase] += right.landed[phase] }
    left.kickTimeouts += right.kickTimeouts
    left.kernelSignalExits += right.kernelSignalExits
    left.runningNS += right.runningNS
    left.waitingNS += right.waitingNS
  }

  /// What was counted since `earlier`.
  public func since(_ earlier: VCPUCounts) -> VCPUCounts {
    var counts = self
    // Read while the vCPUs run: never below zero.
    func subtract(_ part: UInt64, from whole: inout UInt64) { whole -= min(part, whole) }
    for number in earlier.byReason.indices where !byReason.isEmpty {
      subtract(earlier.byReason[number], from: &counts.byReason[number])
    }
    subtract(earlier.eintrReturns, from: &counts.eintrReturns)
    subtract(earlier.entryExits, from: &counts.entryExits)
    subtract(earlier.spuriousReturns, from: &counts.spuriousReturns)
    subtract(earlier.starts, from: &counts.starts)
    subtract(earlier.runErrors, from: &counts.runErrors)
    for phase in 0..<4 { subtract(earlier.landed[phase], from: &counts.landed[phase]) }
    subtract(earlier.kickTimeouts, from: &counts.kickTimeouts)
    subtract(earlier.kernelSignalExits, from: &counts.kernelSignalExits)
    subtract(earlier.runningNS, from: &counts.runningNS)
    subtract(earlier.waitingNS, from: &counts.waitingNS)
    return counts
  }

  /// Adds a kick that was acknowledged.
  public mutating func add(_ outcome: KickOutcome) { landed[Int(outcome.phase.rawValue)] += 1 }

  mutating func addReasons(_ count: (Int) -> UInt64) {
    let reasons = Int(CKVM_EXIT_REASONS)
    if byReason.isEmpty { byReason = [UInt64](repeating: 0, count: reasons) }
    for number in 0..<reasons { byReason[number] += count(number) }
  }
}

extension VCPU {
  /// What it counted so far.
  public var counts: VCPUCounts {
    var counts = VCPUCounts()
    addCounts(to: &counts)
    return counts
  }

  /// Adds what it counted to a sum: cheap, for there may be thousands of them and most have nothing to tell.
  public func addCounts(to sum: inout VCPUCounts) {
    addKicks(to: &sum)
    guard control.served.generation > 0 else { return }
    sum.addReasons { number in control.exits(number) }
    // The part before the whole, so that it is not ahead.
    sum.entryExits += control.entryExits
    sum.eintrReturns += control.eintrReturns
    sum.spuriousReturns += control.spuriousReturns
    sum.starts += control.starts
    sum.runErrors += control.runErrors
    sum.kernelSignalExits += kernelSignalExits
    if let times {
      sum.runningNS += times.runningNS
      sum.waitingNS += times.waitingNS
    }
  }
}

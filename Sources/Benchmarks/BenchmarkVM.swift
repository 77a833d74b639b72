internal import VCPURuntime

/// One kick's durations, and where it landed.
struct KickSample: Sendable {
  /// From the request to KVM_RUN having returned.
  var latencyNS: UInt64
  /// From the request to the signal's handler; nil where none ran for it.
  var signalNS: UInt64?
  /// Where it landed; nil for the bare C loop, which does not know.
  var phase: KickPhase?
  var isCoalesced = false
  /// Signals that were sent beyond the first.
  var resent = 0
}

/// A VM of either side. Any thread may call all but `destroy`.
protocol BenchmarkVM: Sendable {
  var vcpuCount: Int { get }
  /// Lets the guest run. May be called once.
  func start() throws(BenchmarkError)
  /// Kicks a vCPU and waits for its acknowledgement; nil when there is none for `patienceNS`.
  func kick(_ vcpu: Int, patienceNS: UInt64) throws(BenchmarkError) -> KickSample?
  /// Kicks all vCPUs, and waits for all of them after that; false when one did not acknowledge for `patienceNS`.
  func kickAll(patienceNS: UInt64) throws(BenchmarkError) -> Bool
  /// How many exits to user space were served so far, without those by kicks.
  func exits() -> UInt64
  /// Throws when a vCPU has left the guest for good by itself.
  func checkThatItRuns() throws(BenchmarkError)
  /// Asks its vCPUs to leave the guest for good, and does not wait. Only `destroy` may follow.
  func askToStop() throws(BenchmarkError)
  /// Frees everything the VM has. Must be called once, at the end.
  func destroy()
}

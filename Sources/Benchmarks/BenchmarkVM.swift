internal import VCPURuntime

/// One kick's durations, and what became of it.
struct KickSample: Sendable {
  /// From the request to KVM_RUN having returned.
  var latencyNS: UInt64
  /// From the request to the signal's handler; nil where none ran for it.
  var signalNS: UInt64?
  /// Where it landed; nil for the bare C loop, which cannot tell.
  var phase: KickPhase?
  var isCoalesced = false
  /// Signals that were sent beyond the first.
  var resent = 0
}

/// A VM of either side, in the guest. All but `destroy` may be called from any thread.
protocol BenchmarkVM: Sendable {
  var vcpuCount: Int { get }
  /// Lets it run. Once.
  func start() throws(BenchmarkError)
  /// Kicks a vCPU and waits for its acknowledgement; nil when there is none for `patienceNS`.
  func kick(_ vcpu: Int, patienceNS: UInt64) throws(BenchmarkError) -> KickSample?
  /// Kicks all vCPUs, and waits for all of them after that; false when one did not acknowledge for `patienceNS`.
  func kickAll(patienceNS: UInt64) throws(BenchmarkError) -> Bool
  /// Exits to user space served so far, but for kicks.
  func exits() -> UInt64
  /// Throws when a vCPU has left the guest for good of itself.
  func checkThatItRuns() throws(BenchmarkError)
  /// Has its vCPUs leave the guest for good, without waiting. What comes next is `destroy`.
  func askToStop() throws(BenchmarkError)
  /// Unmakes it. Once, at the end.
  func destroy()
}

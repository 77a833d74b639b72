/// A duration that is measured.
public enum Figure: String, Sendable, CaseIterable {
  /// From the request to KVM_RUN having returned.
  case latency
  /// From the request to the caller having seen the acknowledgement.
  case call
  /// From the request to the signal's handler, where one ran.
  case signal
  /// From the signal's handler to KVM_RUN having returned.
  case exit
  /// From one answered kick to the next, of all kickers together. Each kicks again as soon as it is answered.
  case storm
  /// The same for one kicker alone.
  case stormOfOne = "storm_of_one"
  /// From the request to all vCPUs until the last acknowledgement.
  case broadcast
  /// The slowest of single kicks to each vCPU, one after the other.
  case slowestSingle = "slowest_single"
  /// From one exit to the next, all vCPUs together.
  case perExit = "per_exit"
  /// The process's processor time from one exit to the next.
  case cpuPerExit = "cpu_per_exit"
  /// Making a VM that is ready to run.
  case create
  /// Making a clone of a template that is ready to run.
  case clone
  /// Making all clones of a round, one after the other.
  case cloneAll = "clone_all"
  /// Putting a clone whose guest has ended back to its template.
  case reset
  /// Unmaking it: its threads joined, its descriptors closed, its memory unmapped.
  case destroy

  /// Whether a round has so many of them that its 99th percentile says more than its median.
  var hasTail: Bool {
    switch self {
    case .latency, .call, .signal, .exit, .create, .clone, .reset, .destroy, .broadcast, .slowestSingle: true
    case .storm, .stormOfOne, .perExit, .cpuPerExit, .cloneAll: false
    }
  }
}

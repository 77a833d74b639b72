/// What a thread of the server is there for, and so which system calls it may make.
public enum ThreadRole: String, Sendable, CaseIterable {
  /// Runs a guest and serves its exits.
  case vcpu
  /// Talks HTTP, and goes on with requests that waited.
  case requests
  /// Makes, resets and takes apart VMs.
  case machines
  /// Reads and writes files.
  case files
  /// Does what a request asks for and what blocks: VMs and files both.
  case operations
  /// Talks to the service manager and to the server itself, and reads the configuration again.
  case service
  /// Waits, and writes to a descriptor that is open.
  case plain
}

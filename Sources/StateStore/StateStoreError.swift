/// Why the state could not be opened, read or changed. What was asked for then did not happen, in whole.
public enum StateStoreError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The file or directory cannot be opened or made, or another process holds it.
  case cannotOpen(path: String, reason: String)
  /// The file or directory cannot be written.
  case readOnly(path: String, reason: String)
  /// The file is not what this program wrote. It was left as it is.
  case corrupted(path: String, reason: String)
  /// No room: the file system, a quota or a limit of the process.
  case full(path: String, reason: String)
  /// The file was written by a later release. It was left as it is.
  case newerSchema(path: String, found: Int, known: Int)
  /// What was asked contradicts what is stored: a second lease with one id, the end of a lease that is not open.
  case conflict(String)
  /// Anything else that SQLite or the kernel reported.
  case failed(path: String, reason: String)

  /// What happened, to which file, and what to do next.
  public var description: String {
    switch self {
    case .cannotOpen(let path, let reason):
      "\(path) cannot be opened: \(reason)"
    case .readOnly(let path, let reason):
      "\(path) cannot be written: \(reason). Make it writable for the user the server runs as."
    case .corrupted(let path, let reason):
      "\(path) is damaged: \(reason). It was not touched. Restore it from a backup, or move it away with the files "
        + "beside it to start without state."
    case .full(let path, let reason):
      "there is no room to write \(path): \(reason). Free some space, or raise the quota or limit."
    case .newerSchema(let path, let found, let known):
      "\(path) has schema version \(found), and this program knows versions up to \(known). It was not touched. Run "
        + "the release that wrote it, or a later one."
    case .conflict(let reason):
      reason
    case .failed(let path, let reason):
      "\(path) could not be used: \(reason). Look at the disk and the kernel's log."
    }
  }
}

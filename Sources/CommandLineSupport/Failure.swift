public import ArgumentParser

/// Why a command cannot go on, and the exit status that says so. ``Program`` reports it.
public struct Failure: Error {
  /// What happened, to what, and what to do next.
  public let message: String
  /// The program's exit status.
  public let status: ExitCode

  /// A failure with that exit status.
  public init(_ message: String, status: Int32) {
    self.message = message
    self.status = ExitCode(status)
  }
}

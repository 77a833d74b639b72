import ArgumentParser
import CommandLineSupport
import Glibc

/// The exit status of a program that waited for a guest's end.
enum GuestOutcome {
  /// The exit status for how a VM stopped. An exit code is cut to the eight bits that a status has.
  static func exitCode(_ reason: String?, _ code: Int?, isResetOK: Bool = false) -> ExitCode {
    switch reason {
    case "reset" where isResetOK: .success
    case "exited": ExitCode(Int32((code ?? 1) & 0xFF))
    case "halted", "powered_off": .success
    case "reset": ExitCode(123)
    case "deadline": ExitCode(124)
    case "crashed": ExitCode(125)
    default: ExitCode(137)
    }
  }
}

/// The exit status of a program whose stdout cannot be written, for that `errno`.
///
/// A pipe without a reader is 141, without a message: so SIGPIPE would have ended the program, had it not cleaned up first.
/// Anything else is 74, with a message. So is a pipe without a reader where the parent process ignored SIGPIPE.
func outputFailure(_ number: Int32) -> ExitCode {
  if number == EPIPE, arrivedSignal == SIGPIPE { return ExitCode(128 + SIGPIPE) }
  StandardError.complain("stdout cannot be written: \(errorText(number))")
  return ExitCode(74)
}

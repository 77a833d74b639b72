import ArgumentParser
import CommandLineSupport
import Glibc

/// What a guest's end makes of a program that waited for it.
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
/// A pipe without a reader is 141 and prints nothing: SIGPIPE would have ended the program so, had it not cleaned up first. It
/// reports anything else, as 74. So it does a pipe's end where the parent had SIGPIPE ignored.
func outputFailure(_ number: Int32) -> ExitCode {
  if number == EPIPE, arrivedSignal == SIGPIPE { return ExitCode(128 + SIGPIPE) }
  StandardError.complain("stdout cannot be written: \(errorText(number))")
  return ExitCode(74)
}

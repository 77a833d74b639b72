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
/// A pipe without a reader is 141, without a word: SIGPIPE would have ended the program so, had it not been noted to
/// clean up first. Anything else is reported, and 74; so is a pipe's end where the parent had SIGPIPE ignored.
func outputFailure(_ number: Int32) -> ExitCode {
  if number == EPIPE, arrivedSignal == SIGPIPE { return ExitCode(128 + SIGPIPE) }
  StandardError.complain("stdout cannot be written: \(errorText(number))")
  return ExitCode(74)
}

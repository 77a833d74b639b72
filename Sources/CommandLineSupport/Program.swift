public import ArgumentParser
import Glibc

/// What every command-line program of the project does before and after its command.
public enum Program {
  /// Parses the arguments, runs the command, and ends the process with its exit status.
  ///
  /// Every text goes out through ``StandardOutput``, help and version included: a stdout that cannot be written is exit
  /// status 74 (EX_IOERR of sysexits.h). `mistake` may find what the parser lets pass: the program then says so, and ends
  /// with 64. `explain` may add a line to a parser's error, or replace it; `answer` does so with a text that is asked for.
  public static func run(
    _ root: any ParsableCommand.Type, mistake: (_ arguments: [String]) -> String? = { _ in nil },
    explain: (_ error: any Error, _ message: String) -> String = { $1 },
    answer: (_ text: String) -> String = { $0 }
  ) -> Never {
    ClosedDescriptors.occupy()
    QuitSignal.endsTheProgram()
    if let mistake = mistake(Array(CommandLine.arguments.dropFirst())) {
      StandardError.write("Error: \(printable(mistake))\n")
      exit(EX_USAGE)
    }
    do {
      var command = try root.parseAsRoot()
      try command.run()
    } catch {
      exit(end(root, error, explain, answer))
    }
    exit(EXIT_SUCCESS)
  }

  private static func end(
    _ root: any ParsableCommand.Type, _ error: any Error, _ explain: (any Error, String) -> String,
    _ answer: (String) -> String
  ) -> Int32 {
    if let failure = error as? Failure {
      StandardError.complain(failure.message)
      return failure.status.rawValue
    }
    let status = root.exitCode(for: error)
    let text = root.fullMessage(for: error)
    if text.isEmpty { return status.rawValue }
    guard status == .success else {
      StandardError.write(explain(error, text) + "\n")
      return status.rawValue
    }
    do {
      try StandardOutput.print(answer(text))
    } catch {
      return root.exitCode(for: error).rawValue
    }
    return status.rawValue
  }
}

/// Descriptors 0 to 2.
enum ClosedDescriptors {
  /// Occupies those that are closed, so that no socket and no file gets their number, and a message never lands there.
  ///
  /// Each is opened the wrong way round: reading from a stdin that was closed fails, and so does writing to a stdout.
  static func occupy() {
    for (descriptor, mode) in [(STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_RDONLY)]
    where fcntl(descriptor, F_GETFD) < 0 {
      // Safe: the string is a constant. The lowest free number is the one that was found closed.
      _ = unsafe open("/dev/null", mode)
    }
  }
}

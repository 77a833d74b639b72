public import ArgumentParser
import Glibc

/// The process's stdout.
public enum StandardOutput {
  /// Writes the text and a newline. Reports a failure on stderr, and throws exit status 74.
  public static func print(_ text: String, terminator: String = "\n") throws(ExitCode) {
    try write(Array((text + terminator).utf8))
  }

  /// Writes all the bytes. Reports a failure on stderr, and throws exit status 74.
  public static func write(_ bytes: [UInt8]) throws(ExitCode) {
    if writeAll(bytes, to: STDOUT_FILENO) { return }
    let number = errno
    StandardError.complain("stdout cannot be written: \(errorText(number))")
    throw ExitCode(EX_IOERR)
  }

  /// sysexits.h: an error while doing input or output.
  private static let EX_IOERR: Int32 = 74

  /// Whether it is a terminal.
  public static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
}

/// The process's stderr.
public enum StandardError {
  /// Writes a line that begins with the program's name. Control characters in it become visible escapes.
  public static func complain(_ line: String) { write("\(name): \(printable(line))\n") }

  /// Writes the text. A failure is ignored: there is no other place to report it to.
  public static func write(_ text: String) { _ = writeAll(Array(text.utf8), to: STDERR_FILENO) }

  /// Whether it is a terminal.
  public static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// The program's name, without its path.
  private static let name: String = {
    let path = CommandLine.arguments.first ?? "vmpool"
    return path.split(separator: "/").last.map(String.init) ?? path
  }()
}

/// Writes all the bytes to a descriptor; false, with `errno` set, when that fails.
///
/// The corresponding C function is write(2).
public func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
  var rest = bytes[...]
  while !rest.isEmpty {
    // Safe: the buffer outlives the call.
    let written = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
    if written < 0 && errno == EINTR { continue }
    guard written > 0 else { return false }
    rest = rest.dropFirst(written)
  }
  return true
}

/// The C library's text for an error number, such as `No space left on device`.
public func errorText(_ number: Int32) -> String {
  // Safe: the text is copied before another call could replace it; the programs have one thread.
  unsafe String(cString: strerror(number))
}

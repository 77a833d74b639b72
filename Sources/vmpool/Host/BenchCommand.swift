import ArgumentParser
import CommandLineSupport
import Glibc

/// Replaces itself by `vmpool-bench`, which needs KVM and no server.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure this host's KVM beside a bare C loop; runs vmpool-bench.",
    discussion: """
      `vmpool bench --help` shows the benchmarks. The program vmpool-bench is looked for beside vmpool, then in \
      ../libexec/vmpool, then in PATH. Ends with 69 when it is not there.
      """)

  @Argument(parsing: .captureForPassthrough, help: ArgumentHelp("Passed on to vmpool-bench.", valueName: "argument"))
  var arguments: [String] = []

  func run() throws {
    let program = "vmpool-bench"
    for folder in Self.folders {
      Self.become("\(folder)/\(program)", [program] + arguments)
      guard errno == ENOENT || errno == ENOTDIR else { break }
    }
    if errno == ENOENT || errno == ENOTDIR { Self.become(program, [program] + arguments) }
    StandardError.complain(
      "\(program) cannot be started: \(errorText(errno)); it comes with vmpool, and `make install` installs both")
    throw ExitCode(69)
  }

  /// The folders of this program and of its helpers.
  private static var folders: [String] {
    // Safe: the buffer has room for `capacity` bytes, the kernel writes no more, and the count is what it wrote.
    let capacity = Int(PATH_MAX)
    let path = unsafe [CChar](unsafeUninitializedCapacity: capacity) { buffer, count in
      guard let base = buffer.baseAddress else { return }
      count = unsafe max(0, readlink("/proc/self/exe", base, capacity))
    }.map { UInt8(bitPattern: $0) }
    guard let slash = path.lastIndex(of: UInt8(ascii: "/")) else { return [] }
    let folder = String(decoding: path[..<slash], as: UTF8.self)
    return [folder, folder + "/../libexec/vmpool"]
  }

  /// Replaces this process by the program; returns, with `errno` set, only when that fails.
  ///
  /// The corresponding C function is execvp(3), which looks in PATH where the name has no slash.
  private static func become(_ path: String, _ arguments: [String]) {
    // Safe: the copies end with a null pointer and live until the call has failed.
    var words = unsafe arguments.map { unsafe strdup($0) } + [nil]
    defer { unsafe words.forEach { unsafe free($0) } }
    _ = unsafe execvp(path, &words)
  }
}

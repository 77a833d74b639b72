import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Glibc
import ServerConfiguration

extension PoolsCommand {
  struct Edit: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "edit", abstract: "Change a pool's declaration in an editor.",
      discussion: """
        The editor is $VISUAL, else $EDITOR, else vi. It opens the declaration as `vmpool pools show --yaml` prints \
        it. Nothing changes where the file is left as it is. A pool that was changed meanwhile is left as it is, and \
        the exit status is 1. Ends with 65 when the file is wrong; the file is then kept.
        """)

    @OptionGroup var server: ServerOptions

    @Argument(help: "The pool's name.", completion: Completions.pools)
    var name: String

    var mentioned: [Mention] { [.pool(name)] }

    func run(_ client: VMPoolClient) throws {
      let (pool, tag) = try client.taggedPool(name)
      let before = PoolSettings(pool).yaml(name: name)
      let path = try Self.temporaryFile(before)
      try Self.edit(path)
      let declaration = try declaration(in: path)
      // Safe: the string lives for the call.
      defer { _ = unsafe unlink(path) }
      guard PoolSettings(declaration.document).yaml(name: name) != before else {
        return StandardError.complain("\(name) was not changed")
      }
      let condition = tag.map { VMPoolClient.PoolCondition.unchanged(since: $0) } ?? .none
      Advice.report(
        try client.putPool(name, declaration: PoolSettings(declaration.document).document, if: condition).warnings)
      StandardError.complain("\(name) was changed")
    }

    /// The declaration in the file, which must declare this pool alone. Reports what is wrong, and where.
    private func declaration(in path: String) throws -> PoolDeclaration {
      do throws(ConfigurationError) {
        let pools = try ConfigurationFile(path: path).pools
        if pools.count == 1, pools[0].name == name { return pools[0] }
        StandardError.complain("\(path) has to declare \(name), and no other pool")
      } catch {
        for line in error.lines { StandardError.complain(line) }
      }
      StandardError.complain("nothing was changed; `vmpool pools apply -f \(path)` takes the file when it is right")
      throw ExitCode(65)
    }

    /// A file that holds the text and that only this user can read.
    private static func temporaryFile(_ text: String) throws -> String {
      let (path, file) = openTemporaryFile(in: environment("TMPDIR") ?? "/tmp", suffix: ".yaml")
      defer { if file >= 0 { close(file) } }
      guard file >= 0, writeAll(Array((text + "\n").utf8), to: file) else {
        throw Failure("\(path) cannot be written: \(errorText(errno))", status: 73)
      }
      return path
    }

    /// Waits for the editor, which a shell runs: the variable may hold options.
    private static func edit(_ path: String) throws {
      let editor = environment("VISUAL") ?? environment("EDITOR") ?? "vi"
      // Safe: the copies end with a null pointer and live until the child has begun.
      let words = ["sh", "-c", "\(editor) \"$1\"", "sh", path]
      var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
      defer { unsafe arguments.forEach { unsafe free($0) } }
      var child = pid_t()
      guard unsafe posix_spawn(&child, "/bin/sh", nil, nil, &arguments, environ) == 0 else {
        throw Failure("/bin/sh cannot be started to run \(editor)", status: 71)
      }
      var status: Int32 = 0
      while unsafe waitpid(child, &status, 0) < 0 && errno == EINTR {}
      guard status == 0 else { throw Failure("\(editor) failed; nothing was changed", status: 1) }
    }
  }
}

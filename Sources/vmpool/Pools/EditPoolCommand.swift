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
        the exit status is 1. Ends with 65 when the file is wrong. The file is kept, and named, when it is wrong or the \
        server refuses it.
        """)

    @OptionGroup var server: ServerOptions

    @Argument(help: "The pool's name.", completion: Completions.pools)
    var name: String

    var mentioned: [Mention] { [.pool(name)] }

    func run(_ client: VMPoolClient) throws {
      let (pool, tag) = try client.taggedPool(name)
      let before = PoolSettings(pool).yaml(name: name)
      let path = try Self.temporaryFile(before)
      do {
        try Self.edit(path)
        let settings = PoolSettings(try declaration(in: path).document)
        if settings.yaml(name: name) == before {
          StandardError.complain("\(name) was not changed")
        } else {
          try put(settings, tag, client)
          StandardError.complain("\(name) was changed")
        }
        Self.delete(path)
      } catch {
        // What the user wrote is not lost. Without a change there is nothing to keep.
        guard let bytes = try? contents(of: path), bytes != Array((before + "\n").utf8) else {
          Self.delete(path)
          throw error
        }
        defer {
          StandardError.complain("\(path) has your edit; `vmpool pools apply -f \(path)` takes it when it is right")
        }
        throw try exitCode(reporting: error, client)
      }
    }

    private func put(_ settings: PoolSettings, _ tag: String?, _ client: VMPoolClient) throws {
      let condition = tag.map { VMPoolClient.PoolCondition.unchanged(since: $0) } ?? .none
      do throws(APIError) {
        Advice.report(try client.putPool(name, declaration: settings.document, if: condition).warnings)
      } catch {
        guard case .problem(let problem) = error else { throw error }
        throw Advice.refusal(problem, ofPool: name)
      }
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
      throw ExitCode(65)
    }

    private static func delete(_ path: String) {
      // Safe: the string lives for the call.
      _ = unsafe unlink(path)
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

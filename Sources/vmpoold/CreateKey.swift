import ArgumentParser
import CommandLineSupport
import Control
import Glibc
import PoolManager
import StateStore

/// `vmpoold create-key`.
struct CreateKey: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create-key",
    abstract: "Makes a key while no server runs, such as the first one, and prints it.",
    discussion: """
      The key alone stands on stdout, and its id on stderr. It is shown this once: the state keeps a hash of it. From then on \
      the server that uses the directory asks every client for a key. The program runs as the server's user, since the \
      files are that user's: sudo -u vmpool vmpoold create-key ... A server that is running makes keys with `vmpool keys create`.

      Exit status: 0 when the key is made, 64 for bad usage, 73 when the state directory cannot be used, 74 when the key \
      cannot be printed.
      """)

  @OptionGroup var stateDirectory: StateDirectoryOptions
  @OptionGroup var options: KeyGrantOptions

  func validate() throws {
    if stateDirectory.stateDir == nil { throw ValidationError("Give the server's --state-dir.") }
  }

  func run() throws {
    do throws(StartupError) {
      try make(in: stateDirectory.stateDir ?? "")
    } catch {
      for message in error.messages { writeLine(to: 2, "vmpoold: " + message) }
      throw ExitCode(error.exitStatus)
    }
  }

  private func make(in directory: String) throws(StartupError) {
    try ProcessSetup.prepareStateDirectory(directory)
    try Self.checkOwner(of: directory)
    let state = try Self.open(directory)
    defer { state.close() }
    do throws(KeyRefusal) {
      if try makeAndPrint(KeyRing(state)) { return }
    } catch {
      throw Self.failure(error)
    }
    throw StartupError(exitStatus: 74, messages: ["the key could not be printed, and is revoked"])
  }

  /// False where the key could not be printed. It is revoked then: it would serve no one but a finder of a part of it.
  private func makeAndPrint(_ keys: KeyRing) throws(KeyRefusal) -> Bool {
    let origin = Origin(who: "vmpoold create-key by uid \(geteuid())", requestID: nil)
    let key = try keys.make(options.grant, ttlMS: options.ttlMS, isClosed: false, by: origin)
    guard writeAll(Array(key.text.text.utf8) + [0x0A], to: 1) else {
      try keys.revoke(key.record.id, by: origin)
      return false
    }
    writeLine(to: 2, "vmpoold: \(key.record.id) is made; its text is shown this once")
    return true
  }

  private static func failure(_ refusal: KeyRefusal) -> StartupError {
    switch refusal {
    case .firstNeedsAdmin:
      .usage("the first key must have the scope admin, since only such a key can make others; say --scopes admin")
    case .tooMany(let limit): .stateDirectory("there are \(limit) keys, and none of them has ended; revoke one first")
    case .noSuchKey(let id): .stateDirectory("the key \(id) is gone")
    case .state(let error, _): .stateDirectory("\(error)")
    }
  }

  private static func open(_ directory: String) throws(StartupError) -> StateDatabase {
    do throws(StateStoreError) {
      // The key is on the disk before it is shown.
      return try StateDatabase.open(directory: directory, sync: .full)
    } catch {
      throw .stateDirectory("\(error) A server that is running makes keys itself: vmpool keys create")
    }
  }

  /// A database that another user makes here is one that the server cannot open.
  private static func checkOwner(of directory: String) throws(StartupError) {
    var status = stat()
    // Safe: the path lives for the call, and the kernel fills the structure, which is a local.
    guard unsafe stat(directory, &status) == 0, status.st_uid != geteuid() else { return }
    throw .stateDirectory(
      "the state directory \(directory) belongs to the user \(status.st_uid); run this as that user, such as with "
        + "sudo -u '#\(status.st_uid)'")
  }
}

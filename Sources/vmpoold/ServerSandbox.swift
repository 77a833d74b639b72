import APIModel
import BlobStore
import Confinement
import Glibc
import HTTPServer

/// `--sandbox`: what the server gives up, and which files it keeps.
struct ServerSandbox: ~Copyable {
  /// Nil: the operator asked for none.
  private var sandbox: Sandbox?

  /// Before the first thread.
  init(_ choice: SandboxChoice) throws(StartupError) {
    do throws(Sandbox.Failure) {
      sandbox = choice == .on ? try Sandbox() : nil
    } catch {
      throw Self.error(error)
    }
  }

  /// When the state directory is there, and before the server opens files in it.
  mutating func bind(_ options: Vmpoold, _ addresses: [ListenAddress]) throws(StartupError) {
    do throws(Sandbox.Failure) {
      try sandbox?.bound(to: Self.files(options, addresses))
    } catch {
      throw Self.error(error)
    }
  }

  /// What holds when the server has started.
  var status: Sandbox.Status {
    switch sandbox {
    case .some(let sandbox): sandbox.status
    case .none: Sandbox.unconfined
    }
  }

  /// When the server has started.
  consuming func seal() throws(StartupError) {
    guard let sandbox = sandbox.take() else { return }
    do throws(Sandbox.Failure) {
      try sandbox.seal()
    } catch {
      throw Self.error(error)
    }
  }

  private static func error(_ failure: Sandbox.Failure) -> StartupError {
    StartupError(exitStatus: 71, messages: ["\(failure); --sandbox=off starts it without"])
  }

  private static func files(_ options: Vmpoold, _ addresses: [ListenAddress]) -> Sandbox.Files {
    var files = Sandbox.Files(changed: [], read: [], cleared: [])
    if let state = options.stateDir {
      // An operator may have put a link to a larger disk there.
      files.changed = [state, state + "/blobs"]
    } else {
      files.changed = [BlobRepository.temporaryParent]
    }
    // Directories, since who changes a file often puts another in its place.
    for path in [options.config, options.tlsCert, options.tlsKey, options.tlsClientCA].compactMap(\.self) {
      files.read += [directory(of: path), directory(of: real(path))]
    }
    for case .unix(let path) in addresses { files.cleared.append(directory(of: path)) }
    return files
  }

  private static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private static func real(_ path: String) -> String {
    // Safe: realpath(3) makes the text, which is copied and freed.
    guard let found = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(found) }
    return unsafe String(cString: found)
  }
}

extension SandboxDocument {
  /// For `GET /v1/host`.
  init(_ status: Sandbox.Status) {
    self.init(
      seccomp: status.filtersCalls, landlockABI: status.landlockVersion, noNewPrivs: status.gainsNoMorePrivileges,
      capabilities: "0x" + String(status.capabilities, radix: 16))
  }
}

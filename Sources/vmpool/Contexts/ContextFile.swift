import APIClient
import ArgumentParser
import CommandLineSupport
import Glibc
import JSONCodec

/// The user's servers by name: `~/.config/vmpool/config.json`.
///
///     {"current": "lab", "contexts": {"lab": {"server": "https://10.0.0.5:8443", "key_file": "/home/me/lab.key"}}}
struct ContextFile: Codable, Equatable {
  struct Context: Codable, Equatable {
    var server: String
    /// The key to present, a secret; nil where there is none, or a file has it.
    var key: String?
    /// The absolute path of the file with the key.
    var keyFile: String?
    /// Absolute paths of the files for TLS, as `vmpool` has options for them.
    var cacert: String?
    var cert: String?
    var clientKey: String?

    var files: TLSFiles { TLSFiles(authority: cacert, certificate: cert, key: clientKey) }

    enum CodingKeys: String, CodingKey {
      case server, key, cacert, cert
      case keyFile = "key_file"
      case clientKey = "client_key"
    }
  }

  /// The name of the context that is used where the command line and the environment name no server.
  var current: String?
  var contexts: [String: Context] = [:]

  /// Where the file is: $VMPOOL_CONFIG, else `vmpool/config.json` below $XDG_CONFIG_HOME, else below `~/.config`. nil
  /// where the user has no home directory.
  static var path: String? {
    if let path = environment("VMPOOL_CONFIG") { return path }
    if let folder = environment("XDG_CONFIG_HOME") { return folder + "/vmpool/config.json" }
    return environment("HOME").map { $0 + "/.config/vmpool/config.json" }
  }

  /// The file's contents; no contexts where there is no file. Throws where it cannot be read (66) or is wrong (65).
  static func read() throws(ExitCode) -> ContextFile {
    // Safe: the string is passed as a C string for the call.
    guard let path, unsafe access(path, F_OK) == 0 || errno != ENOENT else { return ContextFile() }
    let bytes = try contents(of: path)
    do {
      return try JSON.decode(ContextFile.self, from: bytes)
    } catch {
      StandardError.complain("\(path) is wrong: \(error)")
      throw ExitCode(65)
    }
  }

  /// Reads the file, lets `body` change the contexts, and replaces the file in one step. Makes its folder. Other programs
  /// that do the same wait meanwhile. Throws as ``read()`` does, what `body` throws, or 73 where it cannot be written.
  static func change(_ body: (inout ContextFile) throws -> Void) throws {
    guard let path else { throw ValidationError("There is no home directory; set VMPOOL_CONFIG.") }
    makeFolders(of: path)
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    // Safe: the string lives for the call. The lock is the folder's: each change makes another file.
    let lock = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer { if lock >= 0 { close(lock) } }
    guard lock >= 0, flock(lock, LOCK_EX) == 0 else { throw cannotWrite(path, errno) }
    var file = try read()
    try body(&file)
    try file.replace(path, in: folder)
  }

  private func replace(_ path: String, in folder: String) throws {
    let bytes = try JSON.encodePretty(self) + [0x0A]
    // Only the user may read the servers' names.
    let (partial, file) = openTemporaryFile(in: folder)
    guard file >= 0 else { throw Self.cannotWrite(path, errno) }
    let isWritten = writeAll(bytes, to: file)
    let number = errno
    close(file)
    // Safe, here and below: strings live for their calls.
    guard isWritten, unsafe rename(partial, path) == 0 else {
      let failure = Self.cannotWrite(path, isWritten ? errno : number)
      _ = unsafe unlink(partial)
      throw failure
    }
  }

  private static func cannotWrite(_ path: String, _ number: Int32) -> Failure {
    Failure("\(path) cannot be written: \(errorText(number))", status: 73)
  }

  private static func makeFolders(of path: String) {
    for index in path.indices where path[index] == "/" && index > path.startIndex {
      // Safe: the string lives for the call. Opening the file reports what goes wrong here.
      _ = unsafe mkdir(String(path[..<index]), 0o700)
    }
  }
}

extension ContextFile.Context {
  /// Writes no member that is nil: programs of earlier releases know `server` alone.
  func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: CodingKeys.self)
    try members.encode(server, forKey: .server)
    let others = [
      (key, CodingKeys.key), (keyFile, .keyFile), (cacert, .cacert), (cert, .cert), (clientKey, .clientKey),
    ]
    for case (let value?, let key) in others { try members.encode(value, forKey: key) }
  }

  /// The key to present; nil where the context has none. Throws what ``ServerKey`` does.
  func readKey(ofContext name: String) throws(Failure) -> String? {
    if let keyFile { return try ServerKey.inFile(keyFile) }
    guard let key, let path = ContextFile.path else { return nil }
    // Safe: the string is passed as a C string for the call.
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    defer { if file >= 0 { close(file) } }
    try ServerKey.checkMode(of: file, path)
    return try ServerKey.checked(key, from: "the context \(name)")
  }
}

/// The value of an environment variable; nil where it is not set, or empty.
func environment(_ name: String) -> String? {
  // Safe: the program has one thread and changes no variable; the text is copied at once.
  guard let value = unsafe getenv(name) else { return nil }
  let text = unsafe String(cString: value)
  return text.isEmpty ? nil : text
}

/// The path as it is from every folder.
func absolutePath(_ path: String) -> String {
  // Safe: getcwd(3) makes the text, which is copied and freed here.
  guard !path.hasPrefix("/"), let folder = unsafe getcwd(nil, 0) else { return path }
  defer { unsafe free(folder) }
  return unsafe String(cString: folder) + "/" + path
}

import Access
import CommandLineSupport
import Glibc

/// The key that a command presents to its server. No message of this program has one in it.
enum ServerKey {
  /// What a key looks like, for messages.
  private static let form = "a key is vmp_ and \(KeyText.length - 4) characters, as `vmpool keys create` prints it"

  /// The key in a text, such as an environment variable; `place` says where it stands. Throws where it is none (65).
  static func checked(_ text: String, from place: String) throws(Failure) -> String {
    let text = text.trimmingBlanks
    guard KeyText(text) != nil else { throw Failure("\(place) has no key in it: \(form)", status: 65) }
    return text
  }

  /// The key in a file, or in stdin for `-`. Throws where it cannot be read (66) or has no key in it (65). So it does where all
  /// users of this machine may read or change it.
  ///
  /// Members of the file's group may read it: service managers and Kubernetes hand secrets over by group.
  static func inFile(_ path: String) throws(Failure) -> String {
    let place = path == "-" ? "stdin" : path
    // Safe: the string is passed as a C string for the call.
    let file = path == "-" ? STDIN_FILENO : unsafe open(path, O_RDONLY | O_CLOEXEC)
    defer { if file > STDIN_FILENO { close(file) } }
    guard file >= 0 else { throw Failure("\(place) cannot be read: \(errorText(errno))", status: 66) }
    try checkMode(of: file, place)
    guard let bytes = contents(of: file) else {
      throw Failure("\(place) cannot be read: \(errorText(errno))", status: 66)
    }
    return try checked(String(decoding: bytes.prefix(4096), as: UTF8.self), from: place)
  }

  /// Refuses a regular file that all users of this machine may read or change.
  static func checkMode(of file: Int32, _ place: String) throws(Failure) {
    var status = stat()
    // Safe: the kernel fills the structure, which is a local.
    guard unsafe fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o006 != 0 else {
      return
    }
    let mode = String(status.st_mode & 0o777, radix: 8)
    throw Failure(
      "\(place) holds a key, and its mode \(mode) lets every user of this machine read or change it; "
        + "`chmod 600 \(place)`, and have the key revoked if others may have seen it", status: 65)
  }
}

extension String {
  /// Without the blanks and line breaks around it.
  var trimmingBlanks: String {
    let start = drop(while: \.isWhitespace)
    return start.lastIndex { !$0.isWhitespace }.map { String(start[...$0]) } ?? ""
  }
}

import ArgumentParser
import CommandLineSupport
import Glibc

/// The most bytes that a file may have which is kept in memory. No server takes a request of that size.
private let sizeLimit = 64 << 20

/// The bytes of a file, or of stdin for `-`. Reports a file that cannot be read, and throws exit status 66; 65 for one that
/// is too large, such as /dev/zero.
func contents(of path: String) throws(ExitCode) -> [UInt8] {
  // Safe: the string is passed as a C string for the call.
  let file = path == "-" ? STDIN_FILENO : unsafe open(path, O_RDONLY | O_CLOEXEC)
  defer { if file > STDIN_FILENO { close(file) } }
  guard file >= 0, let bytes = contents(of: file) else {
    StandardError.complain("\(path == "-" ? "stdin" : path) cannot be read: \(errorText(errno))")
    throw ExitCode(66)
  }
  guard bytes.count <= sizeLimit else {
    StandardError.complain("\(path == "-" ? "stdin" : path) has more than \(sizeLimit >> 20) MiB; give a smaller file")
    throw ExitCode(65)
  }
  return bytes
}

/// Creates a file of this user alone, open for reading and writing. The descriptor is negative, and `errno` set, when
/// that fails.
///
/// The corresponding C function is mkstemps(3).
func openTemporaryFile(in folder: String, suffix: String = "") -> (path: String, descriptor: Int32) {
  var template = Array((folder + "/vmpool-XXXXXX" + suffix).utf8CString)
  // Safe: the template ends with a NUL and is changed in place.
  let descriptor = unsafe mkstemps(&template, Int32(suffix.utf8.count))
  return (String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self), descriptor)
}

/// The bytes that are left in a file, or a few more than the limit; nil, with `errno` set, when it cannot be read.
func contents(of file: Int32) -> [UInt8]? {
  var bytes: [UInt8] = []
  while true {
    var result = 0
    // Safe: the buffer has room for as much as is asked for, and the count is what was filled.
    bytes += unsafe [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
      result = unsafe read(file, buffer.baseAddress, 65536)
      count = max(0, result)
    }
    if result < 0 { return nil }
    if result == 0 || bytes.count > sizeLimit { return bytes }
  }
}

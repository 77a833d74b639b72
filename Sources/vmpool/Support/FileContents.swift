import ArgumentParser
import CommandLineSupport
import Glibc

/// The bytes of a file, or of stdin for `-`. One that cannot be read is told of on stderr, and the exit status is 66.
func contents(of path: String) throws(ExitCode) -> [UInt8] {
  // Safe: the string is passed as a C string for the call.
  let file = path == "-" ? STDIN_FILENO : unsafe open(path, O_RDONLY | O_CLOEXEC)
  defer { if file > STDIN_FILENO { close(file) } }
  guard file >= 0, let bytes = contents(of: file) else {
    // Safe: the text is copied before anything could replace it; the program has one thread.
    StandardError.complain("\(path) cannot be read: \(unsafe String(cString: strerror(errno)))")
    throw ExitCode(66)
  }
  return bytes
}

/// All that is left in a file; nil, with `errno` set, when it cannot be read.
private func contents(of file: Int32) -> [UInt8]? {
  var bytes: [UInt8] = []
  while true {
    // Safe: the buffer has room for as much as is asked for, and the count is what was filled.
    var result = 0
    bytes += unsafe [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
      result = unsafe read(file, buffer.baseAddress, 65536)
      count = max(0, result)
    }
    if result < 0 { return nil }
    if result == 0 { return bytes }
  }
}

import Glibc
import LinuxSupport
import SystemPackage

/// What concerns the process as a whole.
enum ProcessSetup {
  /// Blocks what is waited for, what kicks, and what would end the process when its terminal goes. Before any thread
  /// exists: threads inherit the mask.
  static func prepareSignals() {
    blockSignals(EndSignals.signals + [SIGHUP, SIGUSR1])
    // A client that goes away must not end the server.
    signal(SIGPIPE, SIG_IGN)
  }

  /// Makes the directory if it does not exist, for this user alone, and sees that it can be written.
  static func prepareStateDirectory(_ path: String) throws(StartupError) {
    // Safe, here and below: paths live for the call.
    if unsafe mkdir(path, 0o700) != 0, errno != EEXIST {
      throw .stateDirectory("the state directory \(path) cannot be made: \(Errno(rawValue: errno))")
    }
    let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw .stateDirectory("the state directory \(path) cannot be opened: \(Errno(rawValue: errno))")
    }
    let owned = OwnedDescriptor(owning: descriptor)
    guard unsafe faccessat(owned.rawValue, ".", W_OK | X_OK, AT_EACCESS) == 0 else {
      throw .stateDirectory("the state directory \(path) cannot be written: \(Errno(rawValue: errno))")
    }
  }
}

/// Writes a line with one write(2), and waits for that. For programs that end with it; the log has `LogWriter`.
func writeLine(to descriptor: Int32, _ text: String) { writeBytes(to: descriptor, Array(text.utf8) + [0x0A]) }

/// Writes whole lines likewise. What cannot be written is lost: there is nowhere to say so.
func writeBytes(to descriptor: Int32, _ bytes: [UInt8]) {
  // Safe: the buffer is the whole array.
  while unsafe write(descriptor, bytes, bytes.count) < 0, errno == EINTR {}
}

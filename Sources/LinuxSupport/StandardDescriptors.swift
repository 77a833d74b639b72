import Glibc
public import SystemPackage

/// Descriptors 0, 1 and 2.
public enum StandardDescriptors {
  /// Opens `/dev/null` on those of the three that are closed. Otherwise a file that the program opens later would get the
  /// number of its standard output, and be written over. Call it before anything opens a file or starts a thread.
  ///
  /// Throws why `/dev/null` cannot be opened where that is needed.
  public static func openClosed() throws(Errno) {
    // Safe: a constant path.
    for descriptor in Int32(0)...2 where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
      // The kernel gives the lowest free number, and all below this one are open.
      guard unsafe open("/dev/null", O_RDWR) >= 0 else { throw Errno(rawValue: errno) }
    }
  }
}

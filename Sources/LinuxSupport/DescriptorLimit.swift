import Glibc
public import SystemPackage

/// The limit on the process's descriptors.
public enum DescriptorLimit {
  /// Raises the soft limit to the hard one: a VM needs two and more. Returns why that could not be done.
  public static func raise() -> Errno? {
    var limit = rlimit()
    let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    // Safe: a local structure, filled before it is read.
    guard unsafe getrlimit(files, &limit) == 0 else { return Errno(rawValue: errno) }
    limit.rlim_cur = limit.rlim_max
    return unsafe setrlimit(files, &limit) == 0 ? nil : Errno(rawValue: errno)
  }
}

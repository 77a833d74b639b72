import CLinux
public import SystemPackage

/// What the calling thread, and those that it starts, give up for good.
public enum ThreadPrivileges {
  /// A set of capabilities, capabilities(7): bit n is the capability of number n.
  public typealias Capabilities = UInt64

  /// CAP_NET_BIND_SERVICE: ports below 1024.
  public static let bindsLowPorts: Capabilities = 1 << 10

  /// Executing a file gains no privileges any more: set-user-ID programs run as who starts them.
  public static func gainNoMore() throws(Errno) { try valueOrErrno(clinux_no_new_privileges()) }

  /// No effective capability but those of `kept` is left, and executing a file gives none. Those of `kept` that the thread does
  /// not have, it does not get.
  public static func keepCapabilities(_ kept: Capabilities) throws(Errno) {
    try valueOrErrno(clinux_keep_capabilities(kept))
  }

  /// Has the kernel run `program`, instructions of classic BPF, before each of the thread's system calls. `isLogged`: the
  /// kernel's audit log has a line of what it refuses. The C function is seccomp(2).
  public static func filterCalls(_ program: [UInt8], isLogged: Bool) throws(Errno) {
    // Safe: the array outlives the call, and the kernel copies it.
    try valueOrErrno(unsafe clinux_filter_calls(program, program.count, isLogged))
  }

  /// The thread's effective capabilities; nil where the kernel does not say.
  public static var capabilities: Capabilities? {
    let found = clinux_capabilities()
    return found < 0 ? nil : Capabilities(found)
  }

  /// Whether `gainNoMore` holds.
  public static var gainsNoMore: Bool { clinux_has_no_new_privileges() == 1 }
}

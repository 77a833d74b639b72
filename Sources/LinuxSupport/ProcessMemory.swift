import CLinux
public import SystemPackage

/// The memory of the process, as the C library manages it and as others may see it.
public enum ProcessMemory {
  /// Has the C library take memory from the kernel in large pieces, and keep it. The kernel notifies every VM of each change
  /// of the address space: with a thousand VMs, one page more takes the time of a whole request. Before any thread exists.
  public static func keep() { clinux_keep_memory() }

  /// The process leaves no core dump. Other processes of its user can neither trace it nor read its memory. The C function is
  /// prctl(2), PR_SET_DUMPABLE.
  public static func forbidDumps() throws(Errno) { try valueOrErrno(clinux_forbid_dumps()) }
}

import CLinux

/// The memory of the process, as the C library manages it.
public enum ProcessMemory {
  /// Has the C library take memory from the kernel in large pieces, and keep it. The kernel notifies every VM of each change
  /// of the address space: with a thousand VMs, one page more takes the time of a whole request. Before any thread exists.
  public static func keep() { clinux_keep_memory() }
}

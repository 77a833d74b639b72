import CLinux

/// The memory of the process, as the C library manages it.
public enum ProcessMemory {
  /// Has memory taken from the kernel in large pieces, and kept. Each change of the address space is told to every VM
  /// there is: with a thousand of them one page more takes the time of a whole request. Before any thread exists.
  public static func keep() { clinux_keep_memory() }
}

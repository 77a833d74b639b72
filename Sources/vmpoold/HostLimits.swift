import Foundation
import Glibc

/// What the host and this process's limits leave for VMs.
struct HostLimits {
  /// Guest memory in MiB: four fifths of the host's.
  let memoryMiB: Int
  /// Descriptors, without those that the server itself may need.
  let descriptors: Int
  /// Memory mappings, without those of the server itself.
  let mappings: Int

  /// As they are now.
  static var current: HostLimits {
    let pages = sysconf(Int32(_SC_PHYS_PAGES))
    let page = sysconf(Int32(_SC_PAGESIZE))
    var limit = rlimit()
    // Safe: the kernel fills the local.
    let isKnown = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
    let soft = isKnown ? Int(clamping: limit.rlim_cur) : 1024
    // Where /proc does not tell, the kernel's default holds.
    let text = (try? String(contentsOfFile: "/proc/sys/vm/max_map_count", encoding: .utf8)) ?? ""
    let maps = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 65_530
    return HostLimits(
      memoryMiB: max(1, Int(pages) * Int(page) / (1 << 20) / 5 * 4),
      descriptors: max(soft / 2, soft - reservedDescriptors),
      mappings: max(maps / 2, maps - reservedMappings))
  }

  /// For a thousand connections and those in reserve, listeners, the state and the log.
  private static let reservedDescriptors = 1400
  /// For the program, its libraries, heaps and threads.
  private static let reservedMappings = 2000
}

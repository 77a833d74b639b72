import Foundation
import Glibc
import LinuxSupport

/// What the host, the control groups and this process's limits leave for VMs.
struct HostLimits {
  /// The limits of the control groups.
  let group: ControlGroupLimits
  /// Guest memory in MiB: four fifths of what there is, and 64 MiB less than it at least.
  let memoryMiB: Int
  /// Where `memoryMiB` comes from, for people.
  let memorySource: String
  /// Descriptors, without those that the server itself may need.
  let descriptors: Int
  /// Memory mappings, without those of the server itself.
  let mappings: Int
  /// Threads, and so vCPUs, without those of the server itself.
  let threads: Int

  /// As they are now.
  static var current: HostLimits {
    let hostBytes = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
    return HostLimits(
      group: .current(), hostMemoryBytes: hostBytes, maxDescriptors: limit(RLIMIT_NOFILE) ?? 1024,
      // The kernel's own default, where /proc does not say.
      maxMappings: setting("vm/max_map_count") ?? 65_530,
      maxThreads: [limit(__RLIMIT_NPROC), setting("kernel/threads-max"), setting("kernel/pid_max")].compactMap(\.self)
        .min() ?? .max)
  }

  init(
    group: ControlGroupLimits, hostMemoryBytes: Int, maxDescriptors: Int, maxMappings: Int, maxThreads: Int
  ) {
    self.group = group
    let isGroups = group.memoryBytes.map { $0 < hostMemoryBytes } ?? false
    let memory = min(group.memoryBytes ?? .max, hostMemoryBytes) >> 20
    memoryMiB = max(1, min(memory / 5 * 4, memory - Self.reservedMemoryMiB))
    memorySource = "\(isGroups ? "the control group" : "the host") has \(memory) MiB"
    descriptors = max(maxDescriptors / 2, maxDescriptors - Self.reservedDescriptors)
    mappings = max(maxMappings / 2, maxMappings - Self.reservedMappings)
    let tasks = min(group.tasks ?? .max, maxThreads)
    threads = max(tasks / 2, tasks - Self.reservedThreads)
  }

  private static func limit(_ resource: __rlimit_resource) -> Int? {
    var limit = rlimit()
    // Safe: the kernel fills the local.
    guard unsafe getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0 else { return nil }
    // RLIM_INFINITY is the greatest number.
    return Int(clamping: limit.rlim_cur)
  }

  private static func setting(_ name: String) -> Int? {
    let text = (try? String(contentsOfFile: "/proc/sys/\(name)", encoding: .utf8)) ?? ""
    return Int(text.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// For a thousand connections and those in reserve, the parts of a thousand images, listeners, the state and the log.
  private static let reservedDescriptors = 5400
  /// For the program, its libraries, heaps and threads.
  private static let reservedMappings = 2000
  /// For the program, the state, connections and the images that pass through it.
  private static let reservedMemoryMiB = 64
  /// For HTTP, the log, queues and the workers of the dispatch library, of which there are 64 and more.
  private static let reservedThreads = 400
}

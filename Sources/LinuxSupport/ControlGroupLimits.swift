import Foundation

/// The limits that control groups set this process (cgroups(7); the kernel's cgroup-v2.rst): the lowest of each on the
/// way from the process's group up to the root. Both versions are read, also where a host uses one for some controllers
/// and the other for the rest.
public struct ControlGroupLimits: Sendable, Equatable {
  /// Bytes of memory: `memory.max` or `memory.high`, or `memory.limit_in_bytes`; nil where there is no limit.
  public var memoryBytes: Int?
  /// Tasks, threads included: `pids.max`.
  public var tasks: Int?
  /// Processors' worth of time: the quota of `cpu.max`, or of `cpu.cfs_quota_us`, over its period.
  public var processors: Double?

  /// Limits made by hand, as tests do.
  public init(memoryBytes: Int? = nil, tasks: Int? = nil, processors: Double? = nil) {
    self.memoryBytes = memoryBytes
    self.tasks = tasks
    self.processors = processors
  }

  /// The limits of this process, found through `/proc/self/cgroup` and `/proc/self/mountinfo`, both below `root`. What
  /// cannot be read sets no limit: a kernel may lack control groups, and the root group has no such files.
  public static func current(root: String = "") -> ControlGroupLimits {
    let groups = Self.groups(lines(root + "/proc/self/cgroup"))
    var limits = ControlGroupLimits()
    for mount in lines(root + "/proc/self/mountinfo").compactMap(Mount.init) {
      for folder in mount.folders(groups: groups).map({ root + $0 }) { limits.lower(by: folder, mount) }
    }
    return limits
  }

  /// The paths of the process's groups by controller; version 2 has one, under the empty name.
  private static func groups(_ lines: [Substring]) -> [Substring: Substring] {
    var groups: [Substring: Substring] = [:]
    // ID:CONTROLLER,CONTROLLER:PATH, where a path may hold colons.
    for fields in lines.map({ $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false) }) {
      guard fields.count == 3 else { continue }
      for controller in fields[1].split(separator: ",", omittingEmptySubsequences: false) {
        groups[controller] = fields[2]
      }
    }
    return groups
  }

  private mutating func lower(by folder: String, _ mount: Mount) {
    func number(_ file: String) -> Int? {
      Self.lines(folder + "/" + file).first.flatMap { Int($0) }.flatMap { $0 < 0 ? nil : $0 }
    }
    func least<Number: Comparable>(_ limit: inout Number?, _ other: Number?) {
      if let other { limit = limit.map { min($0, other) } ?? other }
    }
    if mount.isVersion2 || mount.has("pids") { least(&tasks, number("pids.max")) }
    if mount.isVersion2 {
      least(&memoryBytes, number("memory.max"))
      least(&memoryBytes, number("memory.high"))
      // "QUOTA PERIOD" in microseconds, or "max PERIOD".
      let words = Self.lines(folder + "/cpu.max").first?.split(separator: " ").map { Double($0) } ?? []
      if words.count == 2, let quota = words[0], let period = words[1], period > 0 {
        least(&processors, quota / period)
      }
    }
    if mount.has("memory") {
      // A group without a limit has the greatest number of whole pages.
      least(&memoryBytes, number("memory.limit_in_bytes").flatMap { $0 >= Int.max / 65_536 * 65_536 ? nil : $0 })
    }
    if mount.has("cpu"), let quota = number("cpu.cfs_quota_us"), let period = number("cpu.cfs_period_us"), period > 0 {
      least(&processors, Double(quota) / Double(period))
    }
  }

  private static func lines(_ path: String) -> [Substring] {
    // See `current`: what cannot be read sets no limit.
    ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n")
  }

  /// A mounted hierarchy of control groups: a line of mountinfo (proc_pid_mountinfo(5)).
  private struct Mount {
    let isVersion2: Bool
    let controllers: [Substring]
    /// The group that the mount shows at its top, as a container sees one of the host's groups.
    let top: Substring
    let point: String

    init?(_ line: Substring) {
      let halves = line.split(separator: " - ", maxSplits: 1)
      guard halves.count == 2 else { return nil }
      let fields = halves[0].split(separator: " ")
      let type = halves[1].split(separator: " ")
      guard fields.count >= 5, type.count >= 3, ["cgroup", "cgroup2"].contains(type[0]) else { return nil }
      isVersion2 = type[0] == "cgroup2"
      controllers = isVersion2 ? [""] : type[2].split(separator: ",")
      top = fields[3]
      point = Self.unescaped(fields[4])
    }

    func has(_ controller: Substring) -> Bool { controllers.contains(controller) }

    /// The folders of the process's group and of those above it. A container's mount may begin below the path that the
    /// process has on the host; then its top is what the container was given.
    func folders(groups: [Substring: Substring]) -> [String] {
      guard let path = controllers.lazy.compactMap({ groups[$0] }).first else { return [] }
      var rest = path
      if top != "/" {
        guard path == top || path.hasPrefix(top + "/") else { return [point] }
        rest = path.dropFirst(top.count)
      }
      let names = rest.split(separator: "/").filter { $0 != ".." }
      return (0...names.count).map { ([point] + names.prefix($0).map(String.init)).joined(separator: "/") }
    }

    /// Spaces and the like stand as octal numbers.
    private static func unescaped(_ field: Substring) -> String {
      [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")].reduce(String(field)) {
        $0.replacingOccurrences(of: $1.0, with: $1.1)
      }
    }
  }
}

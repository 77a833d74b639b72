import Foundation
import TestSupport
import Testing

@testable import LinuxSupport

/// Limits of control groups, in trees made by hand.
struct ControlGroupLimitsTests {
  /// A root directory with these files, removed when the test has read it.
  private func limits(_ files: [String: String]) throws -> ControlGroupLimits {
    let scratch = try ScratchDirectory()
    let root = URL(filePath: scratch.path)
    for (path, text) in files {
      let file = root.appending(path: path)
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: file)
    }
    return ControlGroupLimits.current(root: root.path)
  }

  private static let version2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

  @Test func theLowestLimitOnTheWayUpHolds() throws {
    let found = try limits([
      "proc/self/cgroup": "0::/system.slice/vmpoold.service\n", "proc/self/mountinfo": Self.version2,
      "sys/fs/cgroup/system.slice/memory.max": "1073741824\n",
      "sys/fs/cgroup/system.slice/pids.max": "max\n",
      "sys/fs/cgroup/system.slice/cpu.max": "150000 100000\n",
      "sys/fs/cgroup/system.slice/vmpoold.service/memory.max": "2147483648\n",
      "sys/fs/cgroup/system.slice/vmpoold.service/memory.high": "max\n",
      "sys/fs/cgroup/system.slice/vmpoold.service/pids.max": "32768\n",
      "sys/fs/cgroup/system.slice/vmpoold.service/cpu.max": "max 100000\n",
      // Beside the way, and so no concern of ours.
      "sys/fs/cgroup/user.slice/memory.max": "4096\n",
    ])
    #expect(found == ControlGroupLimits(memoryBytes: 1 << 30, tasks: 32_768, processors: 1.5))
  }

  @Test func aGroupIsThrottledAtItsHighMark() throws {
    let found = try limits([
      "proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": Self.version2,
      "sys/fs/cgroup/a/memory.max": "2147483648\n", "sys/fs/cgroup/a/memory.high": "1073741824\n",
    ])
    #expect(found == ControlGroupLimits(memoryBytes: 1 << 30))
  }

  /// A container with a namespace of its own for control groups: its group is the root, and has files all the same.
  @Test func aContainersOwnGroupIsItsRoot() throws {
    let found = try limits([
      "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": Self.version2, "sys/fs/cgroup/memory.max": "314572800\n",
      "sys/fs/cgroup/pids.max": "100\n", "sys/fs/cgroup/cpu.max": "50000 100000\n",
    ])
    #expect(found == ControlGroupLimits(memoryBytes: 300 << 20, tasks: 100, processors: 0.5))
  }

  @Test func version1HasAHierarchyAController() throws {
    let found = try limits([
      "proc/self/cgroup": "8:pids:/p\n4:memory:/m/inner\n2:cpu,cpuacct:/c\n1:name=systemd:/x\n",
      "proc/self/mountinfo": """
      32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
      39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
      24 23 0:5 / /dev rw - tmpfs tmpfs rw
      """,
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
      "sys/fs/cgroup/memory/m/memory.limit_in_bytes": "314572800\n",
      "sys/fs/cgroup/memory/m/inner/memory.limit_in_bytes": "9223372036854771712\n",
      "sys/fs/cgroup/pids/p/pids.max": "77\n",
      "sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us": "250000\n",
      "sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us": "100000\n",
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    ])
    #expect(found == ControlGroupLimits(memoryBytes: 300 << 20, tasks: 77, processors: 2.5))
  }

  /// A container without such a namespace: the process has its path on the host, and the mount shows its group alone.
  @Test func aMountMayBeginAtTheGroup() throws {
    let found = try limits([
      "proc/self/cgroup": "4:memory:/docker/abc\n",
      "proc/self/mountinfo": "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n",
    ])
    #expect(found == ControlGroupLimits(memoryBytes: 1 << 20))
    let elsewhere = try limits([
      "proc/self/cgroup": "4:memory:/other\n",
      "proc/self/mountinfo": "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n",
    ])
    #expect(elsewhere == ControlGroupLimits(memoryBytes: 1 << 20))
  }

  @Test(arguments: [
    [:], ["proc/self/cgroup": "0::/a\n"],
    ["proc/self/cgroup": "nonsense\n::\n", "proc/self/mountinfo": "1 2 3\n - \n"],
    [
      "proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": version2, "sys/fs/cgroup/a/memory.max": "many\n",
      "sys/fs/cgroup/a/cpu.max": "1 0\n", "sys/fs/cgroup/a/pids.max": "",
    ],
  ])
  func whatCannotBeReadSetsNoLimit(files: [String: String]) throws {
    #expect(try limits(files) == ControlGroupLimits())
  }
}

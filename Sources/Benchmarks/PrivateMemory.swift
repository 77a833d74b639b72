import Foundation

/// Memory that the process shares with no other one and no other mapping, in KiB; 0 where the kernel does not say. The kernel
/// looks at each page that is there. Source: proc(5), smaps_rollup.
func privateMemoryKiB() -> Int {
  let text = (try? String(contentsOfFile: "/proc/self/smaps_rollup", encoding: .utf8)) ?? ""
  return text.split(separator: "\n").filter { $0.hasPrefix("Private_") }.reduce(0) { sum, line in
    sum + (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0)
  }
}

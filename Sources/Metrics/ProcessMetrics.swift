import Glibc

/// What the kernel says of this process, by the names that Prometheus's client libraries use.
public enum ProcessMetrics {
  /// The families, from /proc/self. What the kernel will not say at this moment (every descriptor may be in use) is
  /// left out, as client libraries do. Any thread may call it.
  public static func collect() -> [MetricFamily] {
    var families: [MetricFamily] = []
    if let stat = readFile("/proc/self/stat").flatMap(ProcessStat.init(parsing:)) { families += of(stat) }
    if let open = openDescriptors() {
      families.append(gauge("process_open_fds", "Number of open file descriptors.", .integer(open)))
    }
    var limit = rlimit()
    // Safe: the kernel fills in the structure passed.
    if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
      let value = MetricSample.Value.integer(UInt64(limit.rlim_cur))
      families.append(gauge("process_max_fds", "Maximum number of open file descriptors.", value))
    }
    return families
  }

  private static func of(_ stat: ProcessStat) -> [MetricFamily] {
    let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
    let resident = stat.residentPages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
    let start = bootTime + Double(stat.startTicks) / ticksPerSecond
    return [
      MetricFamily(
        name: "process_cpu_seconds_total", help: "Total user and system CPU time spent in seconds.", kind: .counter,
        unit: "seconds", samples: [MetricSample(value: .number(Double(stat.cpuTicks) / ticksPerSecond))]),
      gauge("process_resident_memory_bytes", "Resident memory size in bytes.", .integer(resident), "bytes"),
      gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", .integer(stat.virtualBytes), "bytes"),
      gauge(
        "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", .number(start),
        "seconds"),
      gauge("process_threads", "Number of OS threads in the process.", .integer(stat.threads)),
    ]
  }

  private static func gauge(
    _ name: String, _ help: String, _ value: MetricSample.Value, _ unit: String? = nil
  ) -> MetricFamily {
    MetricFamily(name: name, help: help, kind: .gauge, unit: unit, samples: [MetricSample(value: value)])
  }

  /// When the host started, in seconds since the epoch. Taken once: a clock that is put right must not move the
  /// process's start.
  private static let bootTime: Double = {
    let difference = seconds(CLOCK_REALTIME) - seconds(CLOCK_BOOTTIME)
    return (difference * 100).rounded() / 100
  }()

  private static func seconds(_ clock: clockid_t) -> Double {
    var time = timespec()
    // Safe: the kernel fills in the structure passed; these clocks always exist.
    unsafe clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// Number of open descriptors; nil where the kernel does not say.
  static func openDescriptors() -> UInt64? {
    var status = stat()
    // Safe: a constant path, and a structure that the kernel fills in. Linux 6.2 and later count in the size.
    if unsafe stat("/proc/self/fd", &status) == 0, status.st_size > 0 { return UInt64(status.st_size) }
    return countedDescriptors()
  }

  /// Number of open descriptors, counted one by one.
  static func countedDescriptors() -> UInt64? {
    // Safe: the directory stream is this function's own and closed once; entries are only counted.
    guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
    defer { unsafe closedir(directory) }
    var entries: UInt64 = 0
    while unsafe readdir(directory) != nil { entries += 1 }
    // Without the two that every directory has, and the descriptor opened for looking.
    return entries > 3 ? entries - 3 : 0
  }

  /// A small file's bytes; nil where it cannot be read.
  private static func readFile(_ path: String) -> [UInt8]? {
    // Safe: the path is only read, and only during the call.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var count = 0
    // Safe: the kernel writes at most the buffer's size, and what it wrote becomes the array's count.
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, initialized in
      unsafe count = read(descriptor, buffer.baseAddress, buffer.count)
      initialized = max(0, count)
    }
    return count > 0 ? bytes : nil
  }
}

/// The fields of /proc/self/stat that metrics are made of (proc_pid_stat(5)).
struct ProcessStat: Equatable {
  let cpuTicks: UInt64
  let threads: UInt64
  /// After the host's start.
  let startTicks: UInt64
  let virtualBytes: UInt64
  let residentPages: UInt64

  /// nil where a field is missing or no number.
  init?(parsing bytes: [UInt8]) {
    // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    guard let end = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    let fields = bytes[(end + 1)...].split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
    func field(_ number: Int) -> UInt64? {
      fields.indices.contains(number - 3) ? UInt64(String(decoding: fields[number - 3], as: UTF8.self)) : nil
    }
    guard let user = field(14), let system = field(15), let threads = field(20), let start = field(22),
      let virtual = field(23), let resident = field(24)
    else { return nil }
    cpuTicks = user &+ system
    self.threads = threads
    startTicks = start
    virtualBytes = virtual
    residentPages = resident
  }
}

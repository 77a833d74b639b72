import APIModel
import Control
import Metrics
import PoolManager
import VCPURuntime

/// The metrics of every pool. Their names and labels are what dashboards and alerts rely on.
enum PoolFamilies {
  /// The value of `pool` for VMs created by hand; no declared pool can have this name.
  static let byHand = "_none"
  private static let states = [
    "creating", "ready", "taken", "running", "paused", "stopped", "resetting", "quarantined",
  ]

  static func families(_ pools: [PoolMetrics]) -> [MetricFamily] {
    [
      counter("vmpool_vcpu_exits_total", "Returns of vCPUs from KVM_RUN.", pools.flatMap(exits)),
      counter("vmpool_kicks_total", "Kicks, by where they landed and what became of them.", pools.flatMap(kicks)),
      histogram("vmpool_kick_latency_seconds", "Time from a kick's request to KVM_RUN left.", pools, \.kickLatency),
      histogram(
        "vmpool_kick_signal_latency_seconds", "Time from a kick's request to the signal handler.", pools,
        \.kickSignalLatency),
      counter(
        "vmpool_kvm_signal_exits_total", "Returns to user space because of a signal, as the kernel counts them.",
        pools.map { sample([label($0)], $0.counts.kernelSignalExits) }),
      seconds(
        "vmpool_vcpu_cpu_seconds_total", "Processor time of the vCPUs' threads, guest and host together.",
        pools.map { ([label($0)], $0.counts.runningNS) }),
      seconds(
        "vmpool_vcpu_run_delay_seconds_total", "Time that the vCPUs' threads could have run and had no processor.",
        pools.map { ([label($0)], $0.counts.waitingNS) }),
      gauge("vmpool_vms", "VMs there are.", pools.flatMap(vms)),
      counter("vmpool_vm_stops_total", "VMs that have stopped, by how.", pools.flatMap(stops)),
      gauge(
        "vmpool_pool_target", "VMs that the pool ought to keep ready.",
        pools.compactMap { pool in pool.target.map { sample([label(pool)], UInt64($0)) } }),
      gauge(
        "vmpool_pool_max_vms", "VMs that the pool may have, where it has such a limit.",
        pools.compactMap { pool in pool.maxVMs.map { sample([label(pool)], UInt64($0)) } }),
      gauge(
        "vmpool_pool_leased", "VMs of the pool that a client has a lease of.",
        declared(pools).map { sample([label($0)], UInt64($0.leased)) }),
      gauge(
        "vmpool_pool_waiting", "Clients waiting for a lease of the pool.",
        declared(pools).map { sample([label($0)], UInt64($0.waiting)) }),
      gauge(
        "vmpool_pool_refill_failures", "Attempts to make a VM for the pool that have failed since one succeeded.",
        declared(pools).map { sample([label($0)], UInt64($0.refillFailures)) }),
      gauge(
        "vmpool_pool_template_ready", "Whether the template of the pool's VMs is there, where it needs one: 1 or 0.",
        pools.compactMap { pool in pool.template.map { sample([label(pool)], $0.state == .ready ? 1 : 0) } }),
      gauge(
        "vmpool_pool_template_boot_seconds", "Time that the template's VM took to its ready point.", unit: "seconds",
        pools.compactMap { pool in
          pool.template?.bootNS.map { MetricSample(labels: [label(pool)], value: .number(Double($0) / 1e9)) }
        }),
      counter(
        "vmpool_leases_total", "Requests for leases, and leases, by what became of them.",
        declared(pools).flatMap(leases)),
      histogram(
        "vmpool_lease_wait_seconds", "Time from asking for a lease to having one.", declared(pools), \.leaseWait),
      histogram("vmpool_vm_create_seconds", "Time to make a VM, from nothing to ready.", pools, \.createTime),
      counter(
        "vmpool_resets_total", "VMs that were put back to their template, by what became of that.",
        declared(pools).flatMap(resets)),
      histogram(
        "vmpool_reset_seconds", "Time to put a VM back to its template, its verification included.", declared(pools),
        \.resetTime),
      counter(
        "vmpool_reset_pages_total", "Pages of guest memory that resets put back.",
        declared(pools).map { sample([label($0)], $0.measurements.resets.pages) }),
    ]
  }

  private static func label(_ pool: PoolMetrics) -> (String, String) { ("pool", pool.pool ?? byHand) }

  private static func exits(_ pool: PoolMetrics) -> [MetricSample] {
    pool.counts.exits.sorted { $0.key < $1.key }.map { sample([label(pool), ("reason", $0.key)], $0.value) }
  }

  private static func kicks(_ pool: PoolMetrics) -> [MetricSample] {
    KickPhase.allCases.map { phase in
      sample([label(pool), ("phase", phase.description), ("result", "ok")], pool.counts.kicks[phase] ?? 0)
    } + [sample([label(pool), ("phase", "none"), ("result", "timeout")], pool.counts.kickTimeouts)]
  }

  /// VMs made by hand are not leased.
  private static func declared(_ pools: [PoolMetrics]) -> [PoolMetrics] { pools.filter { $0.pool != nil } }

  private static func leases(_ pool: PoolMetrics) -> [MetricSample] {
    pool.measurements.leases.snapshot.map { sample([label(pool), ("result", $0.result.rawValue)], $0.count) }
  }

  private static func resets(_ pool: PoolMetrics) -> [MetricSample] {
    pool.measurements.resets.snapshot.map { sample([label(pool), ("result", $0.result.rawValue)], $0.count) }
  }

  private static func vms(_ pool: PoolMetrics) -> [MetricSample] {
    states.map { sample([label(pool), ("state", $0)], UInt64(pool.vms[$0] ?? 0)) }
  }

  private static func stops(_ pool: PoolMetrics) -> [MetricSample] {
    pool.measurements.stops.snapshot.map { sample([label(pool), ("reason", $0.reason)], $0.count) }
  }

  private static func histogram(
    _ name: String, _ help: String, _ pools: [PoolMetrics], _ measured: (PoolMeasurements) -> DurationHistogram
  ) -> MetricFamily {
    MetricFamily(
      name: name, help: help, kind: .histogram, unit: "seconds",
      samples: pools.map { MetricSample(labels: [label($0)], value: .histogram(measured($0.measurements).snapshot())) })
  }
}

/// The metrics of every vCPU that has something to tell: those of VMs that run or are paused.
enum VCPUFamilies {
  static func families(_ vms: [VM]) -> [MetricFamily] {
    var exits: [MetricSample] = []
    var kicks: [MetricSample] = []
    var signalExits: [MetricSample] = []
    var running: [([(String, String)], UInt64)] = []
    var waiting: [([(String, String)], UInt64)] = []
    for vm in vms where vm.machine.state == .running || vm.machine.state == .paused {
      for vcpu in vm.machine.vcpuStatistics {
        let labels = [("pool", vm.pool ?? PoolFamilies.byHand), ("vm", vm.id), ("vcpu", String(vcpu.index))]
        exits += vcpu.exits.sorted { $0.key < $1.key }.map { sample(labels + [("reason", $0.key)], $0.value) }
        kicks += KickPhase.allCases.map { sample(labels + [("phase", $0.description)], vcpu.kicks[$0] ?? 0) }
        if let count = vcpu.kernel["signal_exits"] { signalExits.append(sample(labels, count)) }
        running.append((labels, vcpu.runningNS))
        waiting.append((labels, vcpu.waitingNS))
      }
    }
    return [
      counter("vmpool_vcpu_exits_by_vcpu_total", "Returns of one vCPU from KVM_RUN.", exits),
      counter("vmpool_kicks_by_vcpu_total", "Acknowledged kicks of one vCPU, by where they landed.", kicks),
      counter(
        "vmpool_kvm_signal_exits_by_vcpu_total",
        "Returns of one vCPU to user space because of a signal, as the kernel counts them.", signalExits),
      seconds(
        "vmpool_vcpu_cpu_by_vcpu_seconds_total", "Processor time of one vCPU's thread, guest and host together.",
        running),
      seconds(
        "vmpool_vcpu_run_delay_by_vcpu_seconds_total",
        "Time that one vCPU's thread could have run and had no processor.", waiting),
    ]
  }
}

/// The metrics of images and of the blobs they are made of.
enum ImageFamilies {
  static func families(_ images: ImageCatalogue) -> [MetricFamily] {
    let entries = images.entries
    let unusable = entries.count { $0.image.reasonUnusable != nil }
    return [
      gauge(
        "vmpool_images", "Stored images.",
        [
          sample([("state", "usable")], UInt64(entries.count - unusable)),
          sample([("state", "unusable")], UInt64(unusable)),
        ]),
      gauge(
        "vmpool_blob_bytes", "Bytes of all blobs, uploads that are not complete among them.",
        [sample([], UInt64(clamping: images.blobs.usedBytes))]),
      gauge(
        "vmpool_blob_limit_bytes", "Bytes that all blobs together may have.",
        [sample([], UInt64(clamping: images.blobs.limits.totalBytes))]),
    ]
  }
}

/// What this build is, as a metric.
enum BuildFamily {
  static let family = gauge(
    "vmpool_build_info", "The server's version and the compiler's; always 1.",
    [sample([("version", Release.version), ("swift", Release.compiler)], 1)])
}

private func sample(_ labels: [(String, String)], _ value: UInt64) -> MetricSample {
  MetricSample(labels: labels, value: .integer(value))
}

private func counter(_ name: String, _ help: String, _ samples: [MetricSample]) -> MetricFamily {
  MetricFamily(name: name, help: help, kind: .counter, samples: samples)
}

/// A counter of durations in nanoseconds.
private func seconds(
  _ name: String, _ help: String, _ samples: [(labels: [(String, String)], ns: UInt64)]
) -> MetricFamily {
  MetricFamily(
    name: name, help: help, kind: .counter, unit: "seconds",
    samples: samples.map { MetricSample(labels: $0.labels, value: .number(Double($0.ns) / 1e9)) })
}

private func gauge(
  _ name: String, _ help: String, unit: String? = nil, _ samples: [MetricSample]
) -> MetricFamily {
  MetricFamily(name: name, help: help, kind: .gauge, unit: unit, samples: samples)
}

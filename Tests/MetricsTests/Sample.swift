import Metrics

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// Families of every kind, with everything that needs escaping.
let sampleFamilies: [MetricFamily] = [
  MetricFamily(
    name: "vmpool_kicks_total", help: "Kicks \"served\",\nby \\ phase.", kind: .counter,
    samples: [
      MetricSample(labels: [("pool", "demo"), ("phase", "guest")], value: .integer(18_446_744_073_709_551_615)),
      MetricSample(labels: [("pool", "a\"b\\c\nd é"), ("phase", "entry")], value: .integer(0)),
    ]),
  MetricFamily(
    name: "vmpool_cpu_seconds_total", help: "CPU time.", kind: .counter, unit: "seconds",
    samples: [MetricSample(value: .number(0.25))]),
  MetricFamily(
    name: "vmpool_balance", help: "Any number.", kind: .gauge,
    samples: [
      MetricSample(labels: [("of", "a")], value: .number(-1.5)), MetricSample(labels: [("of", "b")], value: .number(3)),
      MetricSample(labels: [("of", "c")], value: .number(.infinity)),
      MetricSample(labels: [("of", "d")], value: .number(-.infinity)),
      MetricSample(labels: [("of", "e")], value: .number(.nan)),
      MetricSample(labels: [("of", "f")], value: .number(1e-7)),
      MetricSample(labels: [("of", "g")], value: .number(1e100)),
    ]),
  MetricFamily(
    name: "vmpool_kick_latency_seconds", help: "From request to KVM_RUN left.", kind: .histogram, unit: "seconds",
    samples: [
      MetricSample(
        labels: [("pool", "demo")],
        value: .histogram(
          HistogramSnapshot(
            bounds: [1_000, 2_500, 100_000, 1_000_000_000], counts: [1, 0, 2, 3, 4], sumNS: 5_000_000_001))),
      MetricSample(value: .histogram(HistogramSnapshot(bounds: [2_500_000_000]))),
    ]),
  MetricFamily(
    name: "vmpool_build_info", help: "The server's version.", kind: .gauge,
    samples: [MetricSample(labels: [("version", "0.1.0")], value: .integer(1))]),
  MetricFamily(name: "vmpool_vms", help: "VMs by state; none just now.", kind: .gauge, samples: []),
]

import APIModel
import Access
import Control
import Digests
import Foundation
import GuestImages
import KVM
import LinuxSupport
import MachineRuntime
import PoolManager
import VCPURuntime

// What the server has, in the API's documents.

extension GuestImage {
  /// Why its guests will not do on `host` what they are made for.
  func warnings(on host: HostFacts) -> [String] {
    guard host.ring0Emulated, description.kind == .linux else { return [] }
    return [
      "This host's KVM emulates ring 0 (ring0_emulated in GET /v1/host), where Linux does not get to its init. Use a host "
        + "whose KVM runs ring 0 natively."
    ]
  }
}

extension VMDocument {
  /// `looksAtMemory`: the kernel is asked about each page of its memory.
  init(_ vm: VM, on host: HostFacts, looksAtMemory: Bool = false) {
    let state = vm.machine.state
    let configuration = vm.machine.configuration
    self.init(
      id: vm.id, pool: vm.pool.map { Tenant.split($0).name }, image: Tenant.split(configuration.image.name).name,
      state: state.name, vcpus: configuration.vcpus,
      memoryMiB: configuration.memoryMiB,
      createdAt: RFC3339.text(vm.createdAt),
      consoleBytes: vm.machine.consoleBytes, stop: StopDocument(state), lease: vm.lease?.id,
      memoryResidentBytes: looksAtMemory ? vm.machine.residentBytes : nil,
      warnings: configuration.image.warnings(on: host), tenant: vm.tenant.name)
  }
}

extension KickDocument {
  init(_ outcome: KickOutcome, vm: String, vcpu: Int, mechanism: KickMechanism) {
    self.init(
      vm: vm, vcpu: vcpu, generation: outcome.generation, mechanism: mechanism.rawValue,
      phase: outcome.phase.description, coalesced: outcome.coalesced, signalsSent: outcome.signalsSent,
      latencyNS: outcome.latencyNS, signalLatencyNS: outcome.signalLatencyNS)
  }
}

extension VCPUDocument {
  init(_ statistics: VCPUStatistics, vm: String) {
    let kicks = statistics.kicks.map { ($0.key.description, $0.value) }
    self.init(
      vm: vm, index: statistics.index, state: statistics.state.name, exits: statistics.exits,
      kicks: Dictionary(uniqueKeysWithValues: kicks),
      // JSON's integers end at 63 bits here.
      kernel: statistics.kernel.mapValues { min($0, UInt64(Int64.max)) },
      cpuNS: statistics.runningNS, runDelayNS: statistics.waitingNS)
  }
}

extension VCPUState {
  /// The word that the API uses.
  var name: String {
    switch self {
    case .ready: "ready"
    case .running: "running"
    case .paused: "paused"
    case .halted: "halted"
    case .stopped: "stopped"
    }
  }
}

extension RegistersDocument {
  init(_ general: GeneralRegisters, _ special: SpecialRegisters, vm: String, vcpu: Int) {
    self.init(
      vm: vm, vcpu: vcpu,
      general: Dictionary(uniqueKeysWithValues: general.named.map { ($0.name, hex($0.value)) }),
      control: Dictionary(uniqueKeysWithValues: special.control.map { ($0.name, hex($0.value)) }),
      segments: Dictionary(uniqueKeysWithValues: special.segments.map { ($0.name, SegmentDocument($0.value)) }),
      tables: Dictionary(
        uniqueKeysWithValues: special.tables.map {
          ($0.name, DescriptorTableDocument(base: hex($0.base), limit: hex(UInt64($0.limit))))
        }))
  }
}

extension SegmentDocument {
  fileprivate init(_ segment: SegmentRegister) {
    self.init(
      selector: hex(UInt64(segment.selector)), base: hex(segment.base), limit: hex(UInt64(segment.limit)),
      type: Int(segment.type), dpl: Int(segment.privilegeLevel), present: segment.isPresent, long: segment.isLong)
  }
}

extension ImageDocument {
  init(_ guest: BuiltinGuest) {
    self.init(
      name: guest.name, GuestImage.builtin(guest), description: guest.description, digest: SHA256Digest(of: guest.code))
  }

  init(_ entry: StoredEntry) {
    self.init(
      name: Tenant.split(entry.name).name, entry.image,
      description: "An uploaded image of the kind \(entry.kind.rawValue).",
      digest: entry.manifest.kernel)
    manifest = entry.manifest.document
    tenant = Tenant.split(entry.name).tenant.name
    createdAt = RFC3339.text(milliseconds: Int64(entry.createdAtMS))
  }

  private init(name: String, _ image: GuestImage, description text: String, digest: SHA256Digest) {
    let description = image.description
    self.init(
      name: name, kind: description.kind.rawValue, description: text,
      sizeBytes: Int(clamping: description.sizeBytes), digest: digest.description, maxVCPUs: description.maxVCPUs,
      minMemoryMiB: image.minimumMemory.mib,
      ring: description.ring, entry: description.entry.map(hex),
      segments: description.segments.map(ImageSegmentDocument.init), notes: description.notes, manifest: nil,
      createdAt: nil, reason: image.reasonUnusable?.asSentence)
  }
}

extension ImageSegmentDocument {
  fileprivate init(_ segment: ImageDescription.Segment) {
    self.init(
      address: hex(segment.address), fileBytes: Int(clamping: segment.fileBytes),
      memoryBytes: Int(clamping: segment.memoryBytes), access: segment.access)
  }
}

extension PoolDocument {
  init(_ pool: PoolStatus, source: PoolSource, on host: HostFacts) {
    let (vm, ready) = (pool.specification.vm, pool.specification.ready)
    self.init(
      name: Tenant.split(pool.name).name, image: Tenant.split(vm.image.name).name, vcpus: vm.vcpus,
      memoryMiB: vm.memoryMiB,
      ready: ReadyRange(min: ready.lowerBound, max: ready.upperBound), maxVMs: pool.specification.maxVMs,
      deadlineMS: vm.deadlineNS.map { Int($0 / 1_000_000) },
      refill: RefillDocument(concurrency: pool.specification.refillConcurrency),
      paused: pool.specification.isPaused,
      probeIntervalMS: pool.specification.probeIntervalNS.map { Int($0 / 1_000_000) },
      readyWhen: ReadyWhen(pool.specification.readyPoint),
      readyTimeoutMS: Int(pool.specification.readyTimeoutNS / 1_000_000),
      onRelease: pool.specification.resets ? .reset : .replace,
      verifyReset: VerifyReset(pool.specification.verification), shared: pool.specification.isShared,
      tenant: pool.tenant.name, source: source.rawValue,
      warnings: vm.image.warnings(on: host), status: PoolStatusDocument(pool))
  }
}

extension VerifyReset {
  fileprivate init(_ verification: ResetVerification) {
    switch verification {
    case .off: self = .off
    case .sampled: self = .sampled
    case .full: self = .full
    }
  }
}

extension ReadyWhen {
  fileprivate init(_ point: ReadyPoint) {
    switch point {
    case .loaded: self = .loaded
    case .started: self = .started
    case .console(let text): self = .console(text)
    case .after(let ns): self = .afterMS(Int(ns / 1_000_000))
    }
  }
}

extension PoolStatusDocument {
  fileprivate init(_ pool: PoolStatus) {
    let now = Date()
    func time(_ ns: UInt64?, _ sign: Double) -> String? {
      ns.map { RFC3339.text(now.addingTimeInterval(sign * Double($0) / 1e9)) }
    }
    let refill = RefillStatusDocument(
      state: pool.refill.state.rawValue, failures: pool.refill.failures, lastError: pool.refill.lastError,
      lastFailedAt: time(pool.refill.failedAgoNS, -1), nextAttemptAt: time(pool.refill.nextAttemptNS, 1))
    self.init(
      ready: pool.ready, outdated: pool.outdated, leased: pool.leased, creating: pool.creating,
      resetting: pool.resetting, retiring: pool.retiring, quarantined: pool.quarantined, waiting: pool.waiting,
      running: pool.states["running"] ?? 0, paused: pool.states["paused"] ?? 0, stopped: pool.states["stopped"] ?? 0,
      draining: pool.isDraining, refill: refill,
      template: TemplateStatusDocument(
        state: pool.template.state.rawValue, memoryBytes: pool.template.memoryBytes,
        bootMS: pool.template.bootNS.map { Int($0 / 1_000_000) }))
  }
}

extension LeaseDocument {
  init(_ lease: Lease) {
    self.init(
      lease: lease.id, pool: Tenant.split(lease.pool).name, vm: lease.vm.id, fence: lease.fence, labels: lease.labels,
      grantedAt: RFC3339.text(lease.grantedAt), expiresAt: RFC3339.text(lease.expiresAt),
      maxExpiresAt: RFC3339.text(lease.lastsUntil), tenant: lease.tenant.name)
  }
}

extension RFC3339 {
  static func text(_ date: Date) -> String { text(milliseconds: milliseconds(date)) }

  static func milliseconds(_ date: Date) -> Int64 { Int64(date.timeIntervalSince1970 * 1000) }
}

func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

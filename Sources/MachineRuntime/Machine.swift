import Devices
import GuestImages
import GuestMemory
import KVM
import LinuxSupport
import Processor
import Synchronization
import VCPURuntime

/// What a VM is made of.
public struct MachineConfiguration: Sendable {
  /// The guest.
  public let image: GuestImage
  /// Number of vCPUs, 1 to 64.
  public let vcpus: Int
  /// Guest memory in MiB, 1 to 65 536.
  public let memoryMiB: Int
  /// How its vCPUs are kicked.
  public let mechanism: KickMechanism
  /// Whether it has the kernel's interrupt controllers, so that a halted vCPU sleeps in the kernel.
  public let hasIRQChip: Bool
  /// The VM stops (as `deadline`) when it has been started for so long; nil for never.
  public let deadlineNS: UInt64?
  /// What its vCPUs' threads are called, with a slash and the vCPU's number: up to 13 bytes of it are seen.
  public let name: String

  /// A VM of `vcpus` vCPUs and `memoryMiB` MiB that runs `image`.
  public init(
    image: GuestImage, vcpus: Int, memoryMiB: Int, mechanism: KickMechanism, hasIRQChip: Bool = false,
    deadlineNS: UInt64? = nil, name: String = "vcpu"
  ) {
    self.image = image
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.mechanism = mechanism
    self.hasIRQChip = hasIRQChip
    self.deadlineNS = deadlineNS
    self.name = name
  }

  /// The same VM with another name and deadline.
  func renamed(_ name: String, deadlineNS: UInt64?) -> MachineConfiguration {
    MachineConfiguration(
      image: image, vcpus: vcpus, memoryMiB: memoryMiB, mechanism: mechanism, hasIRQChip: hasIRQChip,
      deadlineNS: deadlineNS, name: name)
  }
}

/// A virtual machine: memory, devices, vCPUs and their lifecycle.
///
/// Methods may be called from any thread. Control methods are idempotent: each brings the VM into a state, and succeeds if
/// the VM is in that state already. Its owner calls `destroy` once.
public final class Machine: Sendable {
  /// What it is made of.
  public let configuration: MachineConfiguration
  /// Both directions of its console.
  public let console: Console
  /// For tests, which send it events that come too late.
  let core: MachineCore
  /// Closed before the memory that it maps is unmapped. A leaf lock.
  let vm: Mutex<VMDescriptor?>
  let platform: Platform
  let hasIRQChip: Bool
  let arguments: ArgumentPlaces
  /// What it was cloned from; nil for a VM that was loaded from its image.
  let template: MachineTemplate?
  /// For clones of it.
  let system: KVMSystem

  /// Makes a VM in state `ready`: memory laid out, registers loaded, a parked thread for each vCPU.
  ///
  /// Calls `changed` once for each change of state, in order, on the thread that made it or one that made an earlier one. That
  /// may be a vCPU's thread, so `changed` must not wait for a vCPU.
  public convenience init(
    _ configuration: MachineConfiguration, on system: KVMSystem,
    changed: @escaping @Sendable (MachineState) -> Void = { _ in }
  ) throws(MachineCreationError) {
    try self.init(configuration, on: system, additional: [], changed: changed)
  }

  /// Makes a VM that has `additional` devices beside those of its platform.
  package convenience init(
    _ configuration: MachineConfiguration, on system: KVMSystem, additional: [DeviceAttachment],
    changed: @escaping @Sendable (MachineState) -> Void = { _ in }
  ) throws(MachineCreationError) {
    let size = UInt64(configuration.memoryMiB) << 20
    let layout: GuestLayout
    guard configuration.vcpus <= system.maxVCPUs else {
      throw .image(.vcpuCount(configuration.vcpus, limit: system.maxVCPUs))
    }
    do throws(GuestLayoutError) {
      layout = try configuration.image.layout(memoryBytes: size, vcpus: configuration.vcpus)
    } catch { throw .image(error) }
    let console = Console()
    let memory = try Self.memory(size)
    let devices = try MachineDevices(
      layout.platform, additional: additional, console: console, memory: memory, vcpus: configuration.vcpus)
    try Self.load(layout, devices, vcpus: configuration.vcpus, into: memory)
    try self.init(
      Parts(
        configuration: configuration, platform: layout.platform, arguments: layout.arguments, console: console,
        memory: memory, devices: devices, template: nil),
      vcpus: layout.starts.map { .boot($0) }, on: system, changed: changed)
  }

  /// Makes a clone of `template` in state `ready`: its guest goes on, when it is started, from where it was frozen. `name` and
  /// `deadlineNS` are the clone's own, as in its configuration.
  public convenience init(
    cloning template: MachineTemplate, name: String = "vcpu", deadlineNS: UInt64? = nil, on system: KVMSystem,
    changed: @escaping @Sendable (MachineState) -> Void = { _ in }
  ) throws(MachineCreationError) {
    let configuration = template.configuration.renamed(name, deadlineNS: deadlineNS)
    let console = Console()
    let memory: GuestRAM
    do throws(MappingError) {
      memory = try GuestRAM(cloning: template.memory)
    } catch { throw .memory(error) }
    let devices = try MachineDevices(
      template.platform, console: console, memory: memory, vcpus: configuration.vcpus, overlay: template.overlay)
    do throws(DeviceStateError) {
      try console.restore(template.console)
      try devices.restore(template.devices)
    } catch { throw .state(error) }
    try self.init(
      Parts(
        configuration: configuration, platform: template.platform, arguments: template.arguments, console: console,
        memory: memory, devices: devices, template: template),
      vcpus: template.vcpus.map { .saved($0) }, on: system, changed: changed)
  }

  /// What a VM is made of, before KVM has a part in it.
  private struct Parts {
    let configuration: MachineConfiguration
    let platform: Platform
    let arguments: ArgumentPlaces
    let console: Console
    let memory: GuestRAM
    let devices: MachineDevices
    let template: MachineTemplate?
  }

  /// How a vCPU begins.
  private enum VCPUBeginning {
    /// As the image says; nil: another vCPU starts it.
    case boot(CPUStart?)
    /// As a vCPU of the template was.
    case saved(MachineTemplate.SavedVCPU)
  }

  private init(
    _ parts: Parts, vcpus: [VCPUBeginning], on system: KVMSystem, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) {
    configuration = parts.configuration
    platform = parts.platform
    arguments = parts.arguments
    console = parts.console
    template = parts.template
    self.system = system
    core = MachineCore(devices: parts.devices, guest: parts.memory, vcpus: vcpus.count, changed: changed)
    hasIRQChip = parts.configuration.hasIRQChip || parts.platform.hasInterrupts
    vm = Mutex(try Self.assemble(parts, hasIRQChip, system))
    do throws(MachineCreationError) {
      for (index, beginning) in vcpus.enumerated() { try addVCPU(index, beginning) }
      if template != nil { try settleClone() }
    } catch {
      destroy()
      throw error
    }
  }

  private static func memory(_ size: UInt64) throws(MachineCreationError) -> GuestRAM {
    do throws(MappingError) {
      return try GuestRAM(size: size)
    } catch { throw .memory(error) }
  }

  private static func load(
    _ layout: GuestLayout, _ devices: MachineDevices, vcpus: Int, into memory: GuestRAM
  ) throws(MachineCreationError) {
    // The image comes second: a kernel may be linked where firmware has data that it does without.
    for segment in layout.platform.firmware(devices.attachments, vcpus: vcpus) { try memory.put(segment) }
    for segment in layout.segments { try memory.put(segment) }
  }

  private static func assemble(
    _ parts: Parts, _ hasIRQChip: Bool, _ system: KVMSystem
  ) throws(MachineCreationError) -> VMDescriptor {
    do throws(KVMError) {
      let vm = try system.createVM()
      if hasIRQChip { try vm.createIRQChip() }
      try vm.prepare(for: parts.platform)
      try parts.devices.connect(to: vm)
      // A VM that can be reset logs what its guest writes.
      try parts.memory.map(into: vm, logsWrites: parts.template != nil)
      if let template = parts.template { try vm.restore(template.vm) }
      return vm
    } catch { throw .kvm(error) }
  }

  private func addVCPU(_ index: Int, _ beginning: VCPUBeginning) throws(MachineCreationError) {
    let count = configuration.vcpus
    var descriptor: VCPUDescriptor?
    var loop = VCPULoopState()
    do throws(KVMError) {
      descriptor = try vm.withLock { vm throws(KVMError) in
        try vm?.createVCPU(index: index, of: count, hasIRQChip: hasIRQChip)
      }
      switch beginning {
      case .boot(let start):
        try descriptor?.prepare(for: platform)
        if let start {
          try descriptor?.load(start)
          if hasIRQChip { try descriptor?.makeRunnable() }
        }
      case .saved(let saved):
        try descriptor?.restore(saved.kvm)
        loop = saved.loop
      }
    } catch { throw .kvm(error) }
    guard let ready = descriptor.take() else { return }
    if case .boot = beginning, case .solo5(let solo5) = platform { try tellFrequency(of: ready, solo5) }
    do throws(VCPUStartError) {
      core.add(
        try VCPU(
          ready, index: index, name: configuration.name, mechanism: configuration.mechanism, handler: core, state: loop)
      )
    } catch { throw .vcpu(error) }
  }

  /// Undoes what KVM wrote into a clone's memory while its registers were set.
  private func settleClone() throws(MachineCreationError) {
    do throws(KVMError) {
      _ = try vm.withLock { vm throws(KVMError) in try vm?.revert(core.guest) }
    } catch { throw .kvm(error) }
  }

  private func tellFrequency(
    of vcpu: borrowing VCPUDescriptor, _ solo5: Solo5Platform
  ) throws(MachineCreationError) {
    let frequency: UInt64
    do throws(KVMError) {
      frequency = try vcpu.timeStampFrequency()
    } catch { throw .kvm(error) }
    try core.guest.put(GuestSegment(littleEndian: frequency, at: solo5.frequencyAddress))
  }

  // MARK: Lifecycle

  /// What it is.
  public var state: MachineState { core.state }

  /// Writes the arguments into the guest's memory, which is loaded already. In state `ready`, by the caller that starts it,
  /// before that. A clone of a VM that had been started takes nothing: its guest has read its arguments.
  public func tell(_ told: GuestArguments) throws(MachineControlError) {
    if template?.hasStarted == true, let refusal = told.refusalAfterStart { throw .arguments(refusal) }
    let segments: [GuestSegment]
    do throws(GuestArgumentsError) {
      segments = try arguments.segments(for: told)
    } catch { throw .arguments(error) }
    let isReady: Bool
    do throws(MachineCreationError) {
      isReady = try core.put(segments)
    } catch { throw .failed("\(error)") }
    guard isReady else { throw .invalidState(operation: "tell something to", state) }
  }

  // Each operation comes in two forms. `request…` publishes it, once, and returns what is left to wait for. The other form
  // does that and waits until `deadlineNS` (CLOCK_MONOTONIC).

  /// `ready` → `running`. Stops the VM (as `deadline`) in `limitNS`, or when its configuration says (nil).
  public func start(limitNS: UInt64? = nil, untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try requestStart(limitNS: limitNS).wait(untilNS: deadlineNS)
  }

  /// `ready` → `running`. Stops the VM (as `deadline`) in `limitNS`, or when its configuration says (nil).
  public func requestStart(limitNS: UInt64? = nil) throws(MachineControlError) -> PendingRequests {
    try begin(limitNS, wakes: true)
  }

  /// Starts the VM but leaves its threads asleep. Deliver the returned wake soon: all that is asked of the VM meanwhile
  /// waits for it.
  public func startAsleep() throws(MachineControlError) -> OwedWake {
    _ = try begin(nil, wakes: false)
    return OwedWake { [core] in core.wake() }
  }

  private func begin(_ limitNS: UInt64?, wakes: Bool) throws(MachineControlError) -> PendingRequests {
    let (requests, run) = try publish(.start, "start", wakes: wakes)
    // A start that is not acknowledged in time is a start all the same. Only the first of a run counts.
    if let limit = limitNS ?? configuration.deadlineNS {
      run.deadline.arm(afterNS: limit) { [weak core, number = run.number] in _ = core?.on(.deadline(run: number)) }
    }
    return requests
  }

  /// `running` → `paused`: every vCPU parked between two instructions of the guest.
  ///
  /// The guest's clocks go on: its time stamp counter and kvmclock, and so the time of day. When it runs again,
  /// KVM_KVMCLOCK_CTRL has its kernel know that it stood still, so that its watchdogs do not take the pause for a lockup.
  public func pause(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try requestPause().wait(untilNS: deadlineNS)
  }

  /// `running` → `paused`.
  public func requestPause() throws(MachineControlError) -> PendingRequests { try request(.pause, "pause") }

  /// `paused` → `running`.
  public func resume(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try requestResume().wait(untilNS: deadlineNS)
  }

  /// `paused` → `running`.
  public func requestResume() throws(MachineControlError) -> PendingRequests { try request(.resume, "resume") }

  /// Any state → `stopped`. The first reason to stop counts.
  public func stop(_ reason: MachineStop = .killed, untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try requestStop(reason).wait(untilNS: deadlineNS)
  }

  /// Any state → `stopped`. The first reason to stop counts.
  public func requestStop(_ reason: MachineStop = .killed) throws(MachineControlError) -> PendingRequests {
    try request(.stop(reason), "stop")
  }

  /// `stopped` → `ready`, for another run of the same vCPUs. Before it, the caller has put back what the guest changed.
  func requestReset() throws(MachineControlError) -> PendingRequests { try request(.reset, "reset") }

  private func request(
    _ event: Lifecycle.Event, _ operation: String
  ) throws(MachineControlError) -> PendingRequests {
    try publish(event, operation, wakes: true).0
  }

  private func publish(
    _ event: Lifecycle.Event, _ operation: String, wakes: Bool
  ) throws(MachineControlError) -> (PendingRequests, MachineCore.Run) {
    switch core.on(event, wakes: wakes) {
    case .refused(let state, let isStopping):
      throw .invalidState(operation: operation, state, isStopping: isStopping)
    case .pending(let requests, let run): return (requests, run)
    }
  }

  /// Stops the VM, joins its threads, closes its descriptors and frees its memory. By its owner, once; after it has
  /// returned nothing of the VM is left but its console and its counts.
  public func destroy() {
    core.on(.destroy)
    core.run.deadline.cancel()
    let vcpus = core.vcpus
    for vcpu in vcpus { vcpu.join() }
    core.release()
    vm.withLock { $0 = nil }
    core.devices.release()
    core.guest.unmap()
  }

  // MARK: Kicks

  /// Publishes a kick to one vCPU, or to all (nil), and signals them. Does not wait.
  public func requestKicks(vcpu index: Int?) throws(MachineControlError) -> PendingKicks {
    if case .stopped = state { throw .invalidState(operation: "kick", state) }
    let targets = try index.map { index throws(MachineControlError) in [try vcpu(index)] } ?? core.vcpus
    let start = MonotonicClock.now()
    var requests: [PendingRequest] = []
    for vcpu in targets {
      do throws(KickError) {
        requests.append(PendingRequest(vcpu: vcpu, ticket: .success(try vcpu.request())))
      } catch {
        // Only a vCPU that has ended refuses a request.
        throw .deleted
      }
    }
    return PendingKicks(requests: requests, requestedAtNS: start)
  }

  // MARK: Looking

  /// The registers of a vCPU of a paused or stopped VM. Waits until `deadlineNS` (CLOCK_MONOTONIC).
  public func registers(
    vcpu index: Int, untilNS deadlineNS: UInt64
  ) throws(MachineControlError) -> (GeneralRegisters, SpecialRegisters) {
    try requestRegisters(vcpu: index).wait(untilNS: deadlineNS)
  }

  /// Asks for the registers of a vCPU of a paused or stopped VM. Its own thread reads them, after it has served what was
  /// asked of it before.
  public func requestRegisters(vcpu index: Int) throws(MachineControlError) -> PendingRegisters {
    switch core.requestRegisters(of: try vcpu(index)) {
    case .pending(let requested): return PendingRegisters(requested)
    case .refused(let state): throw .invalidState(operation: Self.readRegisters, state)
    case .ended: throw .deleted
    }
  }

  static let readRegisters = "read the registers of"

  /// What vCPU `index` does, and what it has counted.
  public func statistics(of index: Int) throws(MachineControlError) -> VCPUStatistics {
    Self.statistics(of: try vcpu(index))
  }

  /// The same of every vCPU, in the order of their numbers.
  public var vcpuStatistics: [VCPUStatistics] { core.vcpus.map(Self.statistics) }

  /// Bytes of the host's memory that its guest holds: of its memory what was touched, and what it wrote to disks. A clone
  /// shares those that it has not written with its template. The kernel looks at each page: some 0.3 ms for 1 GiB.
  public var residentBytes: Int { memory.residentBytes + (devices.overlay?.residentBytes ?? 0) }

  private static func statistics(of vcpu: VCPU) -> VCPUStatistics {
    let counts = vcpu.counts
    return VCPUStatistics(
      index: vcpu.index, state: vcpu.state, exits: counts.exits, kicks: counts.kicks, kernel: vcpu.kernelStatistics,
      runningNS: counts.runningNS, waitingNS: counts.waitingNS)
  }

  /// What its vCPUs counted so far; after `destroy`, in the end.
  public var counts: VCPUCounts { core.counts }

  // MARK: Console

  /// Gives the guest input; returns how many bytes fitted.
  public func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int {
    if case .stopped = state { throw .invalidState(operation: "write to the console of", state) }
    let taken = console.offer(bytes)
    core.notifyInput()
    return taken
  }

  /// Its memory, for tests; empty once it is destroyed.
  package var memory: GuestRAM { core.guest }
  /// Its devices, for tests.
  var devices: MachineDevices { core.devices }

  /// One of its vCPUs, for benchmarks that measure kicks alone.
  package func vcpu(_ index: Int) throws(MachineControlError) -> VCPU {
    let vcpus = core.vcpus
    guard !vcpus.isEmpty else { throw .deleted }
    guard vcpus.indices.contains(index) else { throw .noSuchVCPU(index: index, count: vcpus.count) }
    return vcpus[index]
  }
}

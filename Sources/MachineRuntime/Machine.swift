import Devices
import GuestImages
import GuestMemory
import KVM
import LinuxSupport
import Synchronization
import VCPURuntime

/// What a VM is made of.
public struct MachineConfiguration: Sendable {
  /// The guest.
  public let image: GuestImage
  /// Number of vCPUs, 1 to 8.
  public let vcpus: Int
  /// Guest memory in MiB, 1 to 1024.
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
}

/// A virtual machine: memory, devices, vCPUs and their lifecycle.
///
/// Methods may be called from any thread. Control methods are idempotent: each brings the VM into a state, and succeeds if
/// the VM is in that state already. Its owner calls `destroy` once.
public final class Machine: Sendable {
  /// What it is made of.
  public let configuration: MachineConfiguration
  /// Both directions of its console.
  public let console = Console()
  private let core: MachineCore
  private let deadline = DeadlineTimer()
  /// Closed before the memory that it maps is unmapped. A leaf lock.
  private let vm: Mutex<VMDescriptor?>
  private let arguments: ArgumentPlaces

  /// Makes a VM in state `ready`: memory laid out, registers loaded, a parked thread for each vCPU.
  ///
  /// `changed` is called after each change of state, in their order, on the thread that made it or one that made an earlier
  /// one, a vCPU's own among them: it must not wait for a vCPU.
  public convenience init(
    _ configuration: MachineConfiguration, on system: KVMSystem,
    changed: @escaping @Sendable (MachineState) -> Void = { _ in }
  ) throws(MachineCreationError) {
    try self.init(configuration, on: system, additional: [], changed: changed)
  }

  /// Makes a VM that has `additional` devices beside those of its platform.
  package init(
    _ configuration: MachineConfiguration, on system: KVMSystem, additional: [DeviceAttachment],
    changed: @escaping @Sendable (MachineState) -> Void = { _ in }
  ) throws(MachineCreationError) {
    self.configuration = configuration
    let size = UInt64(configuration.memoryMiB) << 20
    let layout: GuestLayout
    do throws(GuestLayoutError) {
      layout = try configuration.image.layout(memoryBytes: size, vcpus: configuration.vcpus)
    } catch { throw .image(error) }
    arguments = layout.arguments
    let memory = try Self.memory(size)
    let devices = try MachineDevices(
      layout.platform, additional: additional, console: console, memory: memory, vcpus: configuration.vcpus)
    try Self.load(layout, devices, vcpus: configuration.vcpus, into: memory)
    core = MachineCore(devices: devices, guest: memory, vcpus: configuration.vcpus, changed: changed)
    let hasIRQChip = configuration.hasIRQChip || layout.platform.hasInterrupts
    vm = Mutex(try Self.assemble(hasIRQChip, layout.platform, devices, system, memory: memory))

    do throws(MachineCreationError) {
      for (index, start) in layout.starts.enumerated() { try addVCPU(index, start, layout.platform, hasIRQChip) }
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
    if layout.platform == .pc {
      // The image comes second: a kernel may be linked where firmware has data that it does without.
      for piece in PCFirmware.pieces(attachments: devices.attachments, vcpus: vcpus) {
        try memory.put(GuestSegment(address: piece.address, bytes: piece.bytes))
      }
    }
    for segment in layout.segments { try memory.put(segment) }
  }

  private static func assemble(
    _ hasIRQChip: Bool, _ platform: Platform, _ devices: MachineDevices, _ system: KVMSystem,
    memory: GuestRAM
  ) throws(MachineCreationError) -> VMDescriptor {
    do throws(KVMError) {
      let vm = try system.createVM()
      if hasIRQChip { try vm.createIRQChip() }
      if platform == .pc {
        try vm.createTimer()
        try vm.routeInterrupts()
      }
      try devices.connect(to: vm)
      try memory.map(into: vm)
      return vm
    } catch { throw .kvm(error) }
  }

  private func addVCPU(
    _ index: Int, _ start: CPUStart?, _ platform: Platform, _ hasIRQChip: Bool
  ) throws(MachineCreationError) {
    let count = configuration.vcpus
    var descriptor: VCPUDescriptor?
    do throws(KVMError) {
      descriptor = try vm.withLock { vm -> Result<VCPUDescriptor?, KVMError> in
        do throws(KVMError) {
          return .success(try vm?.createVCPU(index: index, of: count, hasIRQChip: hasIRQChip))
        } catch { return .failure(error) }
      }.get()
      if platform == .pc { try descriptor?.loadFirmwareState() }
      if let start {
        try descriptor?.load(start.bootState)
        if hasIRQChip { try descriptor?.makeRunnable() }
      }
    } catch { throw .kvm(error) }
    guard let ready = descriptor.take() else { return }
    if case .solo5(let solo5) = platform { try tellFrequency(of: ready, solo5) }
    do throws(VCPUStartError) {
      core.add(
        try VCPU(
          ready, index: index, name: configuration.name, mechanism: configuration.mechanism, handler: core))
    } catch { throw .vcpu(error) }
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

  /// Tells the guest `told`: written into its memory, which is loaded already. In state `ready`, by whoever starts it
  /// and before that.
  public func tell(_ told: GuestArguments) throws(MachineControlError) {
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
    let requests = try request(.start, "start", wakes: wakes)
    // A start that is not acknowledged in time is a start all the same. Only the first counts.
    if let limit = limitNS ?? configuration.deadlineNS {
      deadline.arm(afterNS: limit) { [weak core] in _ = core?.on(.stop(.deadline)) }
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

  private func request(
    _ event: Lifecycle.Event, _ operation: String, wakes: Bool = true
  ) throws(MachineControlError) -> PendingRequests {
    switch core.on(event, wakes: wakes) {
    case .refused(let state, let isStopping):
      throw .invalidState(operation: operation, state, isStopping: isStopping)
    case .pending(let requests): return requests
    }
  }

  /// Stops the VM, joins its threads, closes its descriptors and frees its memory. By its owner, once; after it has
  /// returned nothing of the VM is left but its console and its counts.
  public func destroy() {
    core.on(.stop(.killed))
    deadline.cancel()
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

  /// One vCPU, looked at.
  public func snapshot(vcpu index: Int) throws(MachineControlError) -> VCPUSnapshot {
    Self.snapshot(try vcpu(index))
  }

  /// Bytes of the host's memory that its guest holds: of its memory what was touched, and what it wrote to disks. No other
  /// VM shares them. The kernel looks at each page: some 0.3 ms for 1 GiB.
  public var residentBytes: Int { memory.residentBytes + (devices.overlay?.residentBytes ?? 0) }

  /// Every vCPU, looked at.
  public var vcpuSnapshots: [VCPUSnapshot] { core.vcpus.map(Self.snapshot) }

  private static func snapshot(_ vcpu: VCPU) -> VCPUSnapshot {
    let counts = vcpu.counts
    return VCPUSnapshot(
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

extension CPUStart {
  fileprivate var bootState: BootState {
    let registers = GeneralRegisters(
      instructionPointer: entry, stackPointer: stackPointer, firstArgument: firstArgument,
      rax: rax, rbx: rbx, rsi: rsi, flags: UInt64(ioPrivilegeLevel) << 12)
    let bootMode: BootState.Mode =
      switch mode {
      case .real16: .real16(codeBase: codeSegmentBase)
      case .prot32: .prot32
      case .long64: .long64(pageTableRoot: pageTableRoot, ring: UInt8(ring))
      }
    return BootState(
      mode: bootMode, registers: registers, selectors: (codeSelector, dataSelector),
      descriptorTable: (descriptorTable, descriptorTableLimit))
  }
}

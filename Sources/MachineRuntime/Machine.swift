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

  /// A VM of `vcpus` vCPUs and `memoryMiB` MiB that runs `image`.
  public init(
    image: GuestImage, vcpus: Int, memoryMiB: Int, mechanism: KickMechanism, hasIRQChip: Bool = false,
    deadlineNS: UInt64? = nil
  ) {
    self.image = image
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.mechanism = mechanism
    self.hasIRQChip = hasIRQChip
    self.deadlineNS = deadlineNS
  }
}

/// A virtual machine: memory, devices, vCPUs and their lifecycle.
///
/// Methods may be called from any thread. Control methods are idempotent: each brings the VM into a state, waits until
/// every vCPU has acknowledged, and is content if it was in that state already. Its owner calls `destroy` once.
public final class Machine: Sendable {
  /// What it is made of.
  public let configuration: MachineConfiguration
  /// Both directions of its console.
  public let console = Console()
  private let core: MachineCore
  private let deadline = DeadlineTimer()
  private let parts: Mutex<Parts>

  /// What `destroy` takes apart, in this order: the VM's descriptor before the memory it maps.
  private struct Parts: ~Copyable {
    var vm: VMDescriptor?
    var memory: GuestMemoryRegion?
  }

  /// Makes a VM in state `ready`: memory laid out, registers loaded, a parked thread for each vCPU.
  ///
  /// `changed` is called after each change of state, on whichever thread made it, a vCPU's own among them: it must not
  /// wait for a vCPU.
  public init(
    _ configuration: MachineConfiguration, on system: KVMSystem,
    changed: @escaping @Sendable (MachineState) -> Void = { _ in }
  ) throws(MachineCreationError) {
    self.configuration = configuration
    do throws(BusError) {
      let ports = try Bus([
        (base: Serial16550.com1, size: Serial16550.portCount, device: Serial16550(console: console)),
        (base: DebugExit.port, size: DebugExit.portCount, device: DebugExit()),
      ])
      core = MachineCore(ports: ports, memory: try Bus([]), vcpus: configuration.vcpus, changed: changed)
    } catch { throw .devices(error) }

    let size = UInt64(configuration.memoryMiB) << 20
    let layout: GuestLayout
    do throws(GuestLayoutError) {
      layout = try configuration.image.layout(memoryBytes: size, vcpus: configuration.vcpus)
    } catch { throw .image(error) }
    parts = Mutex(
      try Self.assemble(
        configuration, system, memory: try Self.load(layout, size: size)))

    do throws(MachineCreationError) {
      for index in 0..<configuration.vcpus { try addVCPU(index, start: layout.start(vcpu: index)) }
    } catch {
      destroy()
      throw error
    }
  }

  private static func load(_ layout: GuestLayout, size: UInt64) throws(MachineCreationError) -> GuestMemoryRegion {
    do throws(GuestMemoryError) {
      let memory = try GuestMemoryRegion(size: size)
      for segment in layout.segments { try memory.write(segment.bytes, at: segment.address) }
      return memory
    } catch { throw .memory(error) }
  }

  private static func assemble(
    _ configuration: MachineConfiguration, _ system: KVMSystem, memory: consuming GuestMemoryRegion
  ) throws(MachineCreationError) -> Parts {
    do throws(KVMError) {
      let vm = try system.createVM()
      if configuration.hasIRQChip { try vm.createIRQChip() }
      // Safe: the region is unmapped after the VM's descriptor and all its vCPUs' are closed.
      unsafe try vm.map(slot: 0, guestAddress: 0, host: memory.hostAddress, size: memory.size)
      return Parts(vm: consume vm, memory: consume memory)
    } catch { throw .kvm(error) }
  }

  private func addVCPU(_ index: Int, start: CPUStart) throws(MachineCreationError) {
    var descriptor: VCPUDescriptor?
    do throws(KVMError) {
      descriptor = try parts.withLock { parts -> Result<VCPUDescriptor?, KVMError> in
        do throws(KVMError) {
          return .success(try parts.vm?.createVCPU(index: index))
        } catch { return .failure(error) }
      }.get()
      try descriptor?.load(start.bootState)
      if configuration.hasIRQChip { try descriptor?.makeRunnable() }
    } catch { throw .kvm(error) }
    guard let ready = descriptor.take() else { return }
    do throws(VCPUStartError) {
      core.add(try VCPU(ready, index: index, mechanism: configuration.mechanism, handler: core))
    } catch { throw .vcpu(error) }
  }

  // MARK: Lifecycle

  /// What it is.
  public var state: MachineState { core.state }

  /// `ready` → `running`. Waits until `deadlineNS` (CLOCK_MONOTONIC), here and below.
  public func start(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    // First: a start that is not acknowledged in time is a start all the same, and one that is refused came too late.
    if let limit = configuration.deadlineNS { self.limit(toNS: limit) }
    try control(.start, "start", untilNS: deadlineNS)
  }

  /// Stops it (as `deadline`) in `delayNS`, if that was not settled before. Before `start` it takes the place of what
  /// the configuration says.
  public func limit(toNS delayNS: UInt64) {
    deadline.arm(afterNS: delayNS) { [weak core] in _ = core?.on(.stop(.deadline)) }
  }

  /// `running` → `paused`: every vCPU parked between two instructions of the guest.
  public func pause(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try control(.pause, "pause", untilNS: deadlineNS)
  }

  /// `paused` → `running`.
  public func resume(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try control(.resume, "resume", untilNS: deadlineNS)
  }

  /// Any state → `stopped`. The first reason to stop is the one that is told.
  public func stop(_ reason: MachineStop = .killed, untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try control(.stop(reason), "stop", untilNS: deadlineNS)
  }

  private func control(
    _ event: Lifecycle.Event, _ operation: String, untilNS deadlineNS: UInt64
  ) throws(MachineControlError) {
    switch core.on(event) {
    case .refused(let state, let isStopping):
      throw .invalidState(operation: operation, state, isStopping: isStopping)
    case .pending(let requests): _ = try requests.acknowledged(untilNS: deadlineNS)
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
    parts.withLock { parts in
      parts.vm = nil
      parts.memory = nil
    }
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
        if error == .ended { throw .deleted }
        throw .failed("\(error)")
      }
    }
    return PendingKicks(requests: requests, requestedAtNS: start)
  }

  // MARK: Looking

  /// The registers of a paused vCPU.
  public func registers(
    vcpu index: Int, untilNS deadlineNS: UInt64
  ) throws(MachineControlError) -> (GeneralRegisters, SpecialRegisters) {
    let vcpu = try vcpu(index)
    repeat {
      guard state == .paused else { throw .invalidState(operation: "read the registers of", state) }
      // The state says what was asked for; the acknowledgement says that it is so.
      try pause(untilNS: deadlineNS)
      do throws(KVMError) {
        if let registers = try core.registers(of: vcpu) { return registers }
      } catch { throw .failed("\(error)") }
    } while MonotonicClock.now() < deadlineNS
    throw .timedOut(waitedNS: 0)
  }

  /// One vCPU, looked at.
  public func snapshot(vcpu index: Int) throws(MachineControlError) -> VCPUSnapshot {
    Self.snapshot(try vcpu(index))
  }

  /// Every vCPU, looked at.
  public var vcpuSnapshots: [VCPUSnapshot] { core.vcpus.map(Self.snapshot) }

  private static func snapshot(_ vcpu: VCPU) -> VCPUSnapshot {
    let counts = vcpu.counts
    return VCPUSnapshot(
      index: vcpu.index, state: vcpu.state, exits: counts.exits, kicks: counts.kicks, kernel: vcpu.kernelStatistics)
  }

  /// What its vCPUs counted so far; after `destroy`, in the end.
  public var counts: VCPUCounts { core.counts }

  // MARK: Console

  /// Gives the guest input; returns how many bytes fitted.
  public func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int {
    if case .stopped = state { throw .invalidState(operation: "write to the console of", state) }
    let taken = console.offer(bytes)
    for vcpu in core.vcpus { vcpu.notifyInput() }
    return taken
  }

  /// One of its vCPUs, for whoever measures kicks without what surrounds them here.
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
      flags: UInt64(ioPrivilegeLevel) << 12)
    return switch mode {
    case .real16: BootState(mode: .real16(codeBase: codeSegmentBase), registers: registers)
    case .prot32: BootState(mode: .prot32, registers: registers)
    case .long64: BootState(mode: .long64(pageTableRoot: pageTableRoot, ring: UInt8(ring)), registers: registers)
    }
  }
}

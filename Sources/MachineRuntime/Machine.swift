import Devices
import GuestImages
import GuestMemory
import KVM
import LinuxSupport
import Processor
import Synchronization
import VCPURuntime

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
      if template != nil { try revertWritesOfKVM() }
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
    if case .boot = beginning, case .solo5(let solo5) = platform { try writeFrequency(of: ready, solo5) }
    do throws(VCPUStartError) {
      core.add(
        try VCPU(
          ready, index: index, name: configuration.name, mechanism: configuration.mechanism, handler: core, state: loop,
          entry: configuration.entry))
    } catch { throw .vcpu(error) }
  }

  /// Undoes what KVM wrote into a clone's memory while its registers were set.
  private func revertWritesOfKVM() throws(MachineCreationError) {
    do throws(KVMError) {
      _ = try vm.withLock { vm throws(KVMError) in try vm?.revert(core.guest) }
    } catch { throw .kvm(error) }
  }

  private func writeFrequency(
    of vcpu: borrowing VCPUDescriptor, _ solo5: Solo5Platform
  ) throws(MachineCreationError) {
    let frequency: UInt64
    do throws(KVMError) {
      frequency = try vcpu.timeStampFrequency()
    } catch { throw .kvm(error) }
    try core.guest.put(GuestSegment(littleEndian: frequency, at: solo5.frequencyAddress))
  }
}

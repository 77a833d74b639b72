import Devices
import GuestImages
import GuestMemory
import KVM
import LinuxSupport
import SystemPackage

/// The devices of a VM and their interrupts.
struct MachineDevices: Sendable {
  /// A device, its place, and what it interrupts with.
  private struct Attached {
    let attachment: DeviceAttachment
    let device: any Device
    let interrupt: EventInterrupt?
  }

  /// The devices at I/O ports.
  let ports: Bus
  /// The devices at memory addresses.
  let memory: Bus
  /// How its devices stand in the VM, in the order of the platform.
  let attachments: [DeviceAttachment]
  private let attached: [Attached]
  /// The guest's writes to block devices; nil where it has none.
  let overlay: OverlayMemory?

  /// The devices of `platform` and `additional` ones. Guests' writes to block devices are kept in memory of their own, of a
  /// size that `Footprint` counts. A clone begins with those of `template`.
  init(
    _ platform: Platform, additional: [DeviceAttachment] = [], console: Console, memory: GuestRAM, vcpus: Int,
    overlay template: OverlayMemory.Template? = nil
  ) throws(MachineCreationError) {
    (attachments, overlay) = try Self.attachments(platform, memoryBytes: memory.size, additional, template)
    var attached: [Attached] = []
    for attachment in attachments {
      let interrupt = try attachment.interrupt.map { _ throws(MachineCreationError) in try Self.interrupt() }
      let environment = DeviceEnvironment(
        console: console, memory: memory, vcpus: vcpus, interrupt: interrupt, monotonicNS: MonotonicClock.now,
        wallClockNS: WallClock.now)
      attached.append(
        Attached(attachment: attachment, device: attachment.device(in: environment), interrupt: interrupt))
    }
    self.attached = attached
    do throws(BusError) {
      ports = try Bus(attached.map { ($0.attachment, $0.device) }, ports: true)
      self.memory = try Bus(attached.map { ($0.attachment, $0.device) }, ports: false)
    } catch { throw .devices(error) }
  }

  private static func attachments(
    _ platform: Platform, memoryBytes: UInt64, _ additional: [DeviceAttachment], _ template: OverlayMemory.Template?
  ) throws(MachineCreationError) -> ([DeviceAttachment], OverlayMemory?) {
    switch platform {
    case .minimal: return (.minimal + additional, nil)
    case .pc: return (.pc + additional, nil)
    case .solo5(let solo5):
      let size = solo5.overlaySize(memoryBytes: memoryBytes)
      guard size.chunks > 0 else { return ([Solo5Hypercalls.attachment(blocks: [:])] + additional, nil) }
      let overlay: OverlayMemory
      do throws(MappingError) {
        overlay = if let template { try OverlayMemory(cloning: template) } else { try OverlayMemory(size) }
      } catch { throw .memory(error) }
      var blocks: [UInt64: BlockOverlay] = [:]
      var firstChunk: UInt64 = 0
      for (handle, part) in solo5.blocks.sorted(by: { $0.key < $1.key }) {
        blocks[handle] = BlockOverlay(PartContents(part: part), memory: overlay, firstChunk: firstChunk)
        firstChunk += OverlayMemory.chunkCount(part.count)
      }
      return ([Solo5Hypercalls.attachment(blocks: blocks)] + additional, overlay)
    }
  }

  private static func interrupt() throws(MachineCreationError) -> EventInterrupt {
    do throws(Errno) {
      return try EventInterrupt()
    } catch { throw .interrupt(error) }
  }

  /// Connects their interrupts to `vm`, which has interrupt controllers if one of its devices interrupts.
  func connect(to vm: borrowing VMDescriptor) throws(KVMError) {
    for device in attached {
      guard let number = device.attachment.interrupt else { continue }
      try device.interrupt?.connect(to: vm, interrupt: UInt32(number))
    }
  }

  /// Gives back the memory of what the guest wrote to its disks. When no vCPU thread is left.
  func release() { overlay?.unmap() }

  /// Passes on that the console has got input.
  /// - Returns: whether one interrupted the guest. If not, its vCPUs have to be made to look.
  func interruptForInput() -> Bool {
    var isInterrupted = false
    for device in attached where device.device.inputArrived() { isInterrupted = true }
    return isInterrupted
  }

  // MARK: State

  /// The state of each device by its name. For a VM whose vCPUs are parked, as are the next two.
  func save() -> [String: any DeviceState] {
    var states: [String: any DeviceState] = [:]
    for device in attached { states[device.attachment.name] = device.device.save() }
    return states
  }

  /// Takes `states` over, which name every device of this VM and no other.
  func restore(_ states: [String: any DeviceState]) throws(DeviceStateError) {
    let names = Set(attached.map(\.attachment.name))
    if let other = states.keys.sorted().first(where: { !names.contains($0) }) { throw .unknownDevice(name: other) }
    for device in attached {
      let name = device.attachment.name
      guard let state = states[name] else { throw .missing(name: name) }
      try device.device.restore(any: state)
    }
  }

  /// Brings every device into its state after a reset, and forgets what the guest wrote to its disks.
  func reset() {
    for device in attached { device.device.reset() }
    overlay?.discard()
  }
}

extension Solo5Platform {
  /// How much of its guest's writes to block devices is kept: at most as much as the VM has memory.
  func overlaySize(memoryBytes: UInt64) -> OverlayMemory.Size {
    OverlayMemory.Size(capacities: blocks.values.map(\.count), limitBytes: memoryBytes)
  }
}

/// A part of an image as the first contents of a block device.
private struct PartContents: BlockContents {
  let part: ImagePart

  var count: UInt64 { part.count }

  func read(at offset: UInt64, count: Int) throws(BlockError) -> [UInt8] {
    do throws(ImageReadError) {
      return try part.bytes(at: offset, count: count)
    } catch { throw .unreadable }
  }
}

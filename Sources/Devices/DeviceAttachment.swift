import GuestMemory

/// What a device may use of its VM.
public struct DeviceEnvironment: Sendable {
  /// Both directions of the VM's console.
  public let console: Console
  /// The VM's memory.
  public let memory: GuestRAM
  /// How many vCPUs the VM has.
  public let vcpus: Int
  /// What the device interrupts with; nil where nothing can be interrupted.
  public let interrupt: (any InterruptLine)?
  /// Returns CLOCK_MONOTONIC in nanoseconds.
  public let monotonicNS: @Sendable () -> UInt64
  /// Returns the time since 1970 in nanoseconds.
  public let wallClockNS: @Sendable () -> UInt64

  /// An environment with every member given.
  public init(
    console: Console, memory: GuestRAM, vcpus: Int, interrupt: (any InterruptLine)?,
    monotonicNS: @escaping @Sendable () -> UInt64, wallClockNS: @escaping @Sendable () -> UInt64
  ) {
    self.console = console
    self.memory = memory
    self.vcpus = vcpus
    self.interrupt = interrupt
    self.monotonicNS = monotonicNS
    self.wallClockNS = wallClockNS
  }
}

/// A device and its place in a VM. A platform is a list of these: the buses, the ACPI tables, the descriptors that a VM
/// takes and the tables in the documents all follow from it.
public struct DeviceAttachment: Sendable {
  /// The addresses that reach a device.
  public enum Place: Sendable, Equatable {
    /// I/O ports.
    case ports(UInt16, count: UInt16)
    /// Guest-physical memory without RAM behind it.
    case memory(UInt64, size: UInt64)
  }

  /// What the device is called in documents and saved states, such as `com1`. Once on a platform.
  public let name: String
  /// Where the guest reaches it.
  public let place: Place
  /// The interrupt that it raises (the global number, which is the I/O APIC's pin); nil where it raises none.
  public let interrupt: UInt8?
  /// The hardware ID that the ACPI tables give it, so that kernels find it by that; nil where they know where it is.
  public let acpiID: String?
  private let make: @Sendable (DeviceEnvironment) -> any Device

  /// A device that `make` makes for each VM.
  public init(
    _ name: String, at place: Place, interrupt: UInt8? = nil, acpiID: String? = nil,
    make: @escaping @Sendable (DeviceEnvironment) -> any Device
  ) {
    self.name = name
    self.place = place
    self.interrupt = interrupt
    self.acpiID = acpiID
    self.make = make
  }

  /// Makes the device for a VM.
  public func device(in environment: DeviceEnvironment) -> any Device { make(environment) }
}

extension [DeviceAttachment] {
  /// How many file descriptors the devices take: one for each interrupt.
  public var descriptorCount: Int { count { $0.interrupt != nil } }
}

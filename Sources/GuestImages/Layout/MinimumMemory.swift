import GuestMemory

/// The least memory that an image fits into. A guest may need more once it runs.
public struct MinimumMemory: Sendable, Equatable {
  /// Bytes without modules.
  public let kernelBytes: UInt64
  /// Bytes of modules (an initramfs among them), each in pages of its own.
  public let moduleBytes: UInt64

  /// An image that has these needs.
  public init(kernelBytes: UInt64, moduleBytes: UInt64 = 0) {
    self.kernelBytes = kernelBytes
    self.moduleBytes = moduleBytes
  }

  /// Bytes in all.
  public var bytes: UInt64 {
    let (sum, overflow) = kernelBytes.addingReportingOverflow(moduleBytes)
    return overflow ? .max : sum
  }

  /// The same in MiB, rounded up, and at least 1.
  public var mib: Int { Self.mib(bytes) }

  static func mib(_ bytes: UInt64) -> Int { max(1, Int(clamping: bytes >> 20 + (bytes & 0xF_FFFF == 0 ? 0 : 1))) }

  /// Throws unless `memoryBytes` are enough. A kernel that lies beyond `reach`, as far as guests of its kind reach when they
  /// start, is not helped by more memory: it passes here, and is refused when it is placed.
  func check(_ memoryBytes: UInt64, reach: UInt64 = .max) throws(GuestLayoutError) {
    guard memoryBytes >= bytes || kernelBytes > reach else {
      throw .memoryTooSmall(memoryBytes: memoryBytes, needed: self)
    }
  }

  /// Of a kernel that is loaded as `segments`, above 1 MiB at least, with `modules` above it.
  static func booted(_ segments: [LoadedSegment], _ modules: [ImageModule]) -> MinimumMemory {
    MinimumMemory(
      kernelBytes: segments.reduce(PCMemoryMap.highMemory) { max($0, $1.end) },
      moduleBytes: PlacedModules.bytes(modules))
  }
}

extension GuestImage {
  /// The least memory that it fits into.
  public var minimumMemory: MinimumMemory {
    switch profile {
    case .builtin: MinimumMemory(kernelBytes: FlatImage.leastBytes)
    case .flat(let image): image.minimumMemory
    case .elf(let image): image.minimumMemory
    case .multiboot(let image): image.minimumMemory
    case .solo5(let image): image.minimumMemory
    case .linux(let image): image.minimumMemory
    case .unusable: MinimumMemory(kernelBytes: FlatImage.leastBytes)
    }
  }

  /// Memory in MiB for a VM of which the client names none: enough for the image to start, and at least 2. Linux gets room for
  /// its initramfs three more times, unpacked, and 64 MiB. What other kinds need to run, only they know.
  public var defaultMemoryMiB: Int {
    let minimum = minimumMemory
    guard case .linux = profile else { return max(2, minimum.mib) }
    let room: UInt64 = 64 << 20
    return MinimumMemory.mib(minimum.bytes &+ 3 &* minimum.moduleBytes &+ room)
  }

  /// What a VM of it has around its memory and its vCPUs.
  public var platform: Platform {
    switch profile {
    case .builtin, .flat, .unusable: .minimal
    case .elf(let image): image.platform
    case .multiboot, .linux: .pc
    case .solo5(let image): .solo5(image.platform)
    }
  }
}

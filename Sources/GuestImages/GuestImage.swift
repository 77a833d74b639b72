import Processor

/// The guest of a VM.
public struct GuestImage: Sendable, Equatable {
  /// What it is, as its kind needs it.
  enum Profile: Sendable, Equatable {
    case builtin(BuiltinGuest)
    case flat(FlatImage)
    case elf(ELFImage)
    case multiboot(MultibootImage)
    case solo5(Solo5Image)
    case linux(LinuxImage)
    case unusable(GuestKind, reason: String)
  }

  /// The name that clients use: that of a guest shipped with the server or of a stored image; `flat` for machine code that
  /// came with the request.
  public let name: String
  let profile: Profile

  /// A guest shipped with the server.
  public static func builtin(_ guest: BuiltinGuest) -> GuestImage {
    GuestImage(name: guest.name, profile: .builtin(guest))
  }

  /// Raw machine code.
  public static func flat(_ image: FlatImage) -> GuestImage { GuestImage(name: "flat", profile: .flat(image)) }

  /// A stored image whose bytes cannot be had: it has a name, but no VM can be made of it.
  public static func unusable(name: String, _ kind: GuestKind, reason: String) -> GuestImage {
    GuestImage(name: name, profile: .unusable(kind, reason: reason))
  }

  /// Why no VM can be made of it; nil where one can.
  public var reasonUnusable: String? { if case .unusable(_, let reason) = profile { reason } else { nil } }

  /// Recognises `parts` by their bytes alone, or reads them as `kind` where the client gives one. All bytes may come from
  /// an enemy: only headers are read, and every number in them is checked.
  public init(name: String, _ parts: ImageParts, kind: GuestKind? = nil) throws(ImageError) {
    self.init(name: name, profile: try Self.recognise(parts, kind))
  }

  private init(name: String, profile: Profile) {
    self.name = name
    self.profile = profile
  }

  private static func recognise(_ parts: ImageParts, _ kind: GuestKind?) throws(ImageError) -> Profile {
    switch kind {
    case .flat: return .flat(try FlatImage(parts))
    case .builtin: throw .notOfKind(.builtin)
    case .elf:
      guard let image = try ELFImage(parts) else { throw .notOfKind(.elf) }
      return .elf(image)
    case .multiboot:
      guard let image = try MultibootImage(parts) else { throw .notOfKind(.multiboot) }
      return .multiboot(image)
    case .solo5:
      guard let image = try Solo5Image(parts) else { throw .notOfKind(.solo5) }
      return .solo5(image)
    case .linux:
      guard let image = try LinuxImage(parts, insists: true) else { throw .notOfKind(.linux) }
      return .linux(image)
    case nil:
      if let image = try LinuxImage(parts, insists: false) { return .linux(image) }
      if let image = try Solo5Image(parts) { return .solo5(image) }
      if let image = try MultibootImage(parts) { return .multiboot(image) }
      if let file = try ForeignFile.program(parts.main) { throw .foreign(file) }
      if let image = try ELFImage(parts) { return .elf(image) }
      if let file = try ForeignFile(parts.main) { throw .foreign(file) }
      throw .notRecognised
    }
  }

  /// Its description for clients.
  public var description: ImageDescription {
    switch profile {
    case .builtin(let guest): guest.imageDescription
    case .flat(let image): image.description
    case .elf(let image): image.description
    case .multiboot(let image): image.description
    case .solo5(let image): image.description
    case .linux(let image): image.description
    case .unusable(let kind, _):
      ImageDescription(
        kind: kind, sizeBytes: 0, maxVCPUs: CPUStart.maxVCPUs, ring: 0, entry: nil, segments: [], notes: [:])
    }
  }

  /// Lays the image out in a VM with `memoryBytes` of memory from address 0 and with `vcpus` vCPUs. Pure: the same
  /// arguments give the same layout. All bytes and numbers may come from an enemy.
  public func layout(memoryBytes: UInt64, vcpus: Int) throws(GuestLayoutError) -> GuestLayout {
    switch profile {
    case .builtin(let guest):
      let image = FlatImage(mode: guest.ring == 0 ? .long64 : .long64Ring3, code: guest.code)
      return try image.layout(memoryBytes: memoryBytes, vcpus: vcpus, vcpuLimit: guest.maxVCPUs)
    case .flat(let image):
      return try image.layout(memoryBytes: memoryBytes, vcpus: vcpus)
    case .elf(let image):
      return try image.layout(memoryBytes: memoryBytes, vcpus: vcpus)
    case .multiboot(let image):
      return try image.layout(memoryBytes: memoryBytes, vcpus: vcpus)
    case .solo5(let image):
      return try image.layout(memoryBytes: memoryBytes, vcpus: vcpus)
    case .linux(let image):
      return try image.layout(memoryBytes: memoryBytes, vcpus: vcpus)
    case .unusable(_, let reason): throw .unusable(reason: reason)
    }
  }
}

extension FlatImage {
  fileprivate init(_ parts: ImageParts) throws(ImageError) {
    guard let placement = parts.flat else { throw .noPlacement }
    guard parts.initramfs == nil else { throw .unusedPart("initramfs", .flat) }
    guard parts.modules.isEmpty else { throw .unusedPart("module", .flat) }
    guard parts.blocks.isEmpty else { throw .unusedPart("block device", .flat) }
    guard parts.commandLine == nil else { throw .unusedPart("command line", .flat) }
    self.init(parts.main, placement)
    // However much memory a VM has.
    do throws(GuestLayoutError) { try checkPlace(memoryBytes: .max) } catch { throw .placement(error) }
  }
}

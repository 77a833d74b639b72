import GuestMemory

/// Where kernels that start in 32-bit protected mode find the loader's information. They may use that memory once they have
/// read it, as with other boot loaders.
enum BootInformation {
  /// For PVH: the information, and in the last page a stack.
  static let pvh: Range<UInt64> = 0x9_0000..<0x9_F000
  /// For Multiboot, below 64 KiB as in QEMU: kernels that follow it map no more. The last page is a stack.
  static let multiboot: Range<UInt64> = 0x9000..<0x1_0000
  /// The first address that a loader must not use below 4 GiB.
  static let mostMemory = PCMemoryMap.holeStart
}

/// A file that a boot loader puts into memory beside the kernel, with a text that the kernel finds with it.
public struct ImageModule: Sendable, Equatable {
  /// The bytes.
  public var part: ImagePart
  /// The text, such as a file's name and its arguments; nil where there is none.
  public var text: String?

  /// A module of `part`.
  public init(_ part: ImagePart, text: String? = nil) {
    self.part = part
    self.text = text
  }
}

/// Where modules were put.
struct PlacedModules {
  struct Module {
    let start: UInt64
    let count: UInt64
    /// The address of its text, which ends with a NUL; 0 where there is none.
    let text: UInt64
  }

  private static let pageBytes: UInt64 = 4096
  /// The most modules of an image.
  static let limit = 64
  /// The most bytes of a module's text.
  static let textLimit = 4095

  /// In the order of the image.
  let modules: [Module]
  /// The modules' bytes and their texts, ascending.
  let segments: [GuestSegment]

  /// How much memory `modules` take, each in pages of its own.
  static func bytes(_ modules: [ImageModule]) -> UInt64 {
    let texts = modules.reduce(0) { $0 + UInt64(($1.text?.utf8.count ?? -1) + 1) }
    return modules.reduce(pages(texts)) { sum, module in
      sum.addingReportingOverflow(pages(module.part.count)).partialValue
    }
  }

  private static func pages(_ bytes: UInt64) -> UInt64 {
    bytes / pageBytes * pageBytes + (bytes % pageBytes == 0 ? 0 : pageBytes)
  }

  /// Puts `modules` above `kernel`, as high as they fit below `memoryEnd`; the first one is the highest.
  init(_ modules: [ImageModule], above kernel: [LoadedSegment], memoryEnd: UInt64) throws(PlacementError) {
    let lowest = kernel.reduce(PCMemoryMap.highMemory) { max($0, $1.end) }
    let total = Self.bytes(modules)
    var next = memoryEnd / Self.pageBytes * Self.pageBytes
    guard total <= next, next - total >= lowest else {
      throw .noRoomForModules(bytes: total, memoryBytes: memoryEnd)
    }
    var segments: [GuestSegment] = []
    var starts: [UInt64] = []
    for module in modules {
      next -= Self.pages(module.part.count)
      starts.append(next)
      if module.part.count > 0 { segments.append(GuestSegment(address: next, part: module.part)) }
    }
    let texts: [[UInt8]] = modules.map { module in module.text.map { Array($0.utf8) + [0] } ?? [] }
    var text = next - Self.pages(UInt64(texts.reduce(0) { $0 + $1.count }))
    var placed: [Module] = []
    for (index, module) in modules.enumerated() {
      let bytes = texts[index]
      placed.append(Module(start: starts[index], count: module.part.count, text: bytes.isEmpty ? 0 : text))
      if !bytes.isEmpty { segments.append(GuestSegment(address: text, bytes: bytes)) }
      text += UInt64(bytes.count)
    }
    self.modules = placed
    self.segments = segments.sorted { $0.address < $1.address }
  }
}

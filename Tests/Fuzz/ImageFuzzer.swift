import Glibc
import GuestImages

/// What libFuzzer calls, again and again, with an input that it made: recognises it as an image and lays it out. Nothing
/// may trap, read past an end, take long or take much; and a layout must be what `GuestLayout` promises.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzImage(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  // Safe: libFuzzer lends so many bytes for the time of the call.
  let input = unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
  guard let image = FuzzedImage(input) else { return -1 }
  demand(image.isSound(kind) || !mustLoad, "there is no layout")
  return 0
}

/// The program's start: the package manager wants it by this name, in the place of libFuzzer's own `main`.
@_cdecl("ImageFuzzer_main")
public func start(
  _ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> CInt {
  var count = count
  var arguments = unsafe arguments
  return unsafe runFuzzer(&count, &arguments, fuzzImage)
}

/// `LLVMFuzzerRunDriver` of libFuzzer. Its arguments are integers and pointers, which C and Swift pass alike.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
  _ oneInput: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// The loader to fuzz, from VMPOOL_FUZZ_KIND; without it or with `any`, whichever the bytes are recognised for.
private let kind: GuestKind? = {
  // Safe: nobody changes the environment.
  guard let name = unsafe getenv("VMPOOL_FUZZ_KIND") else { return nil }
  return unsafe GuestKind(rawValue: String(cString: name))
}()

/// Ends the run, saying what is wrong: `precondition` would not say it in an optimised build.
private func demand(_ condition: Bool, _ message: String) {
  if !condition { fatalError(message) }
}

/// Whether it is a failure when an input does not get to its layout: asked of the seeds, by VMPOOL_FUZZ_MUST_LOAD.
private let mustLoad = unsafe getenv("VMPOOL_FUZZ_MUST_LOAD") != nil  // Safe: nobody changes the environment.

/// An image and a VM for it, out of the bytes of an input: what is asked of the VM in the first 24, the image in the rest.
///
/// | bytes | |
/// | --- | --- |
/// | 0, 1 | memory, in MiB |
/// | 2 | vCPUs, with a sign |
/// | 3 | bit 0: there is an initramfs; 1: a command line; 2: a block device; 3: a placement; 4, 5: its mode; 6: modules |
/// | 4 to 11 | the placement's load address |
/// | 12 to 19 | its entry |
/// | 20 to 23 | how many bytes from the end on are the initramfs, the block device or the command line |
struct FuzzedImage {
  static let optionBytes = 24
  let memoryBytes: UInt64
  let vcpus: Int
  let parts: ImageParts

  /// Nil where there are fewer bytes than options.
  init?(_ input: [UInt8]) {
    guard input.count >= Self.optionBytes else { return nil }
    func number(_ range: Range<Int>) -> UInt64 { input[range].reversed().reduce(0) { $0 << 8 | UInt64($1) } }
    memoryBytes = number(0..<2) << 20
    vcpus = Int(Int8(truncatingIfNeeded: number(2..<3)))
    let flags = input[3]
    let image = input.dropFirst(Self.optionBytes)
    let besides = Array(image.suffix(Int(number(20..<24))))
    var parts = ImageParts(main: ImagePart(Array(image.dropLast(besides.count))))
    if flags & 1 != 0 { parts.initramfs = ImagePart(besides) }
    if flags & 64 != 0 {
      let half = ImagePart(Array(besides.prefix(besides.count / 2)))
      parts.modules = [ImageModule(half, text: String(decoding: besides.prefix(64), as: UTF8.self)), ImageModule(half)]
    }
    if flags & 2 != 0 { parts.commandLine = String(decoding: besides.prefix(8192), as: UTF8.self) }
    if flags & 4 != 0 { parts.blocks["disk"] = ImagePart(besides) }
    if flags & 8 != 0 {
      let mode = FlatMode.allCases[Int(flags >> 4 & 3)]
      parts.flat = FlatPlacement(mode: mode, loadAddress: number(4..<12), entry: number(12..<20))
    }
    self.parts = parts
  }

  /// Recognises it as `kind`, describes it, lays it out and looks at the layout; false where there is none.
  func isSound(_ kind: GuestKind?) -> Bool {
    guard let image = try? GuestImage(name: "fuzzed", parts, kind: kind) else { return false }
    demand(kind == nil || image.description.kind == kind, "it is of another kind")
    guard let layout = try? image.layout(memoryBytes: memoryBytes, vcpus: vcpus) else { return false }
    demand(layout.starts.count == vcpus && vcpus <= image.description.maxVCPUs, "it has other vCPUs")
    demand(layout.starts[0] != nil, "nobody starts the first vCPU")
    demand(layout.segments.count < 4096, "it has too many segments")
    var end: UInt64 = 0
    for segment in layout.segments {
      demand(segment.address >= end, "segments overlap, or are out of order")
      demand(isInMemory(segment), "a segment ends beyond memory")
      end = segment.address + segment.count
      let bytes = try? segment.bytes()
      demand(bytes.map { UInt64($0.count) } == segment.count, "a segment has bytes that its part does not have")
    }
    let arguments = GuestArguments(commandLine: parts.commandLine, environment: ["NAME": parts.commandLine ?? ""])
    for segment in (try? layout.arguments.segments(for: arguments)) ?? [] {
      demand(isInMemory(segment), "an argument ends beyond memory")
    }
    return true
  }

  private func isInMemory(_ segment: GuestSegment) -> Bool {
    segment.address <= memoryBytes && segment.count <= memoryBytes - segment.address
  }
}

/// Why parts do not make an image.
public enum ImageError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The bytes are of no known kind.
  case notRecognised
  /// The client names a kind, and the bytes are not of it.
  case notOfKind(GuestKind)
  /// A part belongs to it that its kind has no use for.
  case unusedPart(String, GuestKind)
  /// It has too many modules.
  case tooManyModules(Int, limit: Int)
  /// The text of a module, counted from 0, is too long.
  case moduleText(module: Int, bytes: Int, limit: Int)
  /// The text of a module, counted from 0, holds a byte 0, which would end it early.
  case moduleTextNUL(module: Int)
  /// No VM can have its command line.
  case commandLine(GuestArgumentsError)
  /// It is a file that no VM can start.
  case foreign(ForeignFile)
  /// Machine code does not say how it starts, and the client does not either.
  case noPlacement
  /// Machine code is to lie or to start where its mode cannot start.
  case placement(GuestLayoutError)
  /// An ELF file is damaged, or is not one that can be started.
  case elf(ELFDefect)
  /// A Multiboot kernel cannot be started.
  case multiboot(MultibootError)
  /// A Solo5 unikernel cannot be run.
  case solo5(Solo5Error)
  /// It is a Linux kernel that cannot be booted.
  case linux(LinuxError)
  /// The bytes cannot be had.
  case unreadable(ImageReadError)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .notRecognised:
      """
      The file is none that is known: no kernel, no unikernel, and no other file that is often uploaded by mistake. If it \
      is raw machine code, give the kind flat and a mode.
      """
    case .notOfKind(let kind):
      "The image is not of the kind \(kind.rawValue). Leave the kind out to have it recognised."
    case .unusedPart(let part, let kind):
      "An image of the kind \(kind.rawValue) has no \(part). Leave it out."
    case .tooManyModules(let count, let limit): "The image has \(count) modules. Give at most \(limit)."
    case .moduleText(let module, let bytes, let limit):
      "The text of module \(module) has \(bytes) bytes, and there is room for \(limit). Make it shorter."
    case .moduleTextNUL(let module): "The text of module \(module) holds a NUL. Leave it out."
    case .commandLine(let error): "\(error)"
    case .foreign(let file): file.description
    case .noPlacement:
      "Raw machine code does not say how it starts. Give its mode."
    case .placement(let error): "\(error)"
    case .elf(let defect): "\(defect)"
    case .multiboot(let error): "\(error)"
    case .solo5(let error): "\(error)"
    case .linux(let error): "\(error)"
    case .unreadable(let error):
      "The image's \(error). Upload it again."
    }
  }
}

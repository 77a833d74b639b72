/// Why parts are no image.
public enum ImageError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The bytes are of no kind that is known.
  case notRecognised
  /// It was said to be of one kind, and is not.
  case notOfKind(GuestKind)
  /// A part belongs to it that its kind has no use for.
  case unusedPart(String, GuestKind)
  /// Machine code does not say how it starts, and nobody else did.
  case noPlacement
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

  /// What is wrong and what to do, in sentences.
  public var description: String {
    switch self {
    case .notRecognised:
      """
      The image is of no known kind: it begins like none. Raw machine code has to be called so: give the kind flat and \
      a mode.
      """
    case .notOfKind(let kind):
      "The image is not of the kind \(kind.rawValue). Leave the kind out to have it recognised."
    case .unusedPart(let part, let kind):
      "An image of the kind \(kind.rawValue) has no \(part). Leave it out."
    case .noPlacement:
      "Raw machine code does not say how it starts. Give its mode."
    case .elf(let defect): "\(defect)"
    case .multiboot(let error): "\(error)"
    case .solo5(let error): "\(error)"
    case .linux(let error): "\(error)"
    case .unreadable(let error):
      "The image's \(error). Upload it again."
    }
  }
}

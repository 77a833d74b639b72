/// Why a file with a Multiboot header cannot be started.
public enum MultibootError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What the header says of where the file belongs: where the header itself does, the first byte and the end of what
  /// is loaded, the end of what is zero, and the entry. Of the ends, 0 stands for that of the file, or for none.
  public struct Addresses: Sendable, Equatable {
    let header, load, loadEnd, bssEnd, entry: UInt32
  }

  /// It asks for a video mode, or for something that no boot loader of this version gives.
  case needs(flags: UInt32)
  /// It is no ELF file, and the header does not say where it belongs.
  case noAddresses
  /// The addresses in the header contradict each other or the file.
  case addresses(Addresses)
  /// The entry in the header is not in what is loaded.
  case entryOutside(UInt32)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .needs(let flags):
      """
      The Multiboot header asks for something that VMs do not have: bits \(hex(flags)) of its flags. Ask for aligned modules and a \
      memory map (bits 0 and 1) at most.
      """
    case .noAddresses:
      """
      The file has a Multiboot header, but is no ELF file, and the header does not give its addresses \
      (bit 16 of its flags). Link it as ELF for i386, or give them.
      """
    case .addresses(let said):
      """
      The Multiboot header's addresses do not fit each other and the file: header \(hex(said.header)), \
      load \(hex(said.load)), load end \(hex(said.loadEnd)), bss end \(hex(said.bssEnd)). Correct them.
      """
    case .entryOutside(let entry):
      "The Multiboot header's entry \(hex(entry)) is not in what is loaded. Correct it."
    }
  }
}

private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }

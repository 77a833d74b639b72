import Processor

/// Why an image does not fit a VM.
public enum GuestLayoutError: Error, Equatable, CustomStringConvertible {
  /// The image's bytes cannot be had.
  case unreadable(ImageReadError)
  /// Something of the image has no place in memory.
  case placement(PlacementError)
  /// The image is stored, and something is wrong with that.
  case unusable(reason: String)
  /// The image holds no code.
  case emptyCode
  /// Less memory than it needs.
  case memoryTooSmall(memoryBytes: UInt64, needed: MinimumMemory)
  /// The image runs on 1 to `limit` vCPUs.
  case vcpuCount(Int, limit: Int)
  /// A 64-bit image would overwrite the page tables and stacks below 0x10000.
  case loadAddressReserved(UInt64)
  /// Real mode wants a load address that is a multiple of 16.
  case loadAddressUnaligned(UInt64)
  /// The code ends beyond the VM's memory.
  case codeBeyondMemory(loadAddress: UInt64, codeBytes: UInt64, memoryBytes: UInt64)
  /// The code ends beyond what the mode reaches at start.
  case codeBeyondMode(CPUMode, loadAddress: UInt64, codeBytes: UInt64, limit: UInt64)
  /// The entry is not the address of a byte of the code.
  case entryOutsideCode(entry: UInt64, loadAddress: UInt64, codeBytes: UInt64)
  /// In real mode the entry is more than 65535 bytes after the load address.
  case entryBeyondSegment(entry: UInt64, loadAddress: UInt64)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .unreadable(let error):
      "The image's \(error). Upload it again."
    case .placement(let error): "\(error)"
    case .unusable(let reason):
      "The image is unusable: \(reason)."
    case .emptyCode:
      "The image holds no code. Give it at least one byte."
    case .memoryTooSmall(let memoryBytes, let needed):
      """
      The image does not fit into \(memoryBytes >> 20) MiB of memory. It needs \(needed.moduleBytes == 0
        ? "\(needed.mib) MiB"
        : "\(MinimumMemory.mib(needed.kernelBytes)) MiB, and \(needed.mib) MiB with its initramfs and modules"). \
      Give the VM at least \(needed.mib) MiB.
      """
    case .vcpuCount(let count, let limit):
      "The image cannot run on \(count) vCPUs. Give the VM \(limit == 1 ? "1 vCPU" : "1 to \(limit) vCPUs")."
    case .loadAddressReserved(let address):
      "The load address \(hex(address)) is reserved for page tables and stacks. Load 64-bit code at 0x10000 or above."
    case .loadAddressUnaligned(let address):
      "The load address \(hex(address)) cannot be the base of a real-mode segment. Use a multiple of 16."
    case .codeBeyondMemory(let loadAddress, let codeBytes, let memoryBytes):
      """
      \(codeBytes) bytes of code loaded at \(hex(loadAddress)) end beyond the \(memoryBytes) bytes of memory. \
      Give the VM more memory or load the code lower.
      """
    case .codeBeyondMode(let mode, let loadAddress, let codeBytes, let limit):
      """
      \(codeBytes) bytes of code loaded at \(hex(loadAddress)) end beyond \(hex(limit)), as far as \(mode.rawValue) \
      code reaches. Load the code lower.
      """
    case .entryOutsideCode(let entry, let loadAddress, let codeBytes):
      "The entry \(hex(entry)) is outside the \(codeBytes) bytes of code loaded at \(hex(loadAddress)). Move it there."
    case .entryBeyondSegment(let entry, let loadAddress):
      """
      The entry \(hex(entry)) is more than 65535 bytes after the load address \(hex(loadAddress)). \
      Move it into the first 64 KiB of the real-mode code.
      """
    }
  }
}

private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

import CGuests
import Processor

/// A tiny guest shipped with the server, 64-bit and position-independent, entered at its first byte.
public struct BuiltinGuest: Sendable, Equatable {
  /// The name that clients use, such as `spin`.
  public let name: String
  /// A sentence about it.
  public let description: String
  /// The privilege level it runs at: 0 or 3.
  public let ring: Int
  /// The most vCPUs it runs on.
  public let maxVCPUs: Int
  /// Its machine code.
  public let code: [UInt8]

  // Safe: CGuests returns constants; `bytes` alone follows the pointers in them.
  /// All of them.
  public static let all: [BuiltinGuest] = [
    BuiltinGuest(
      name: "spin", description: "Busy loop that only a kick gets out of the guest; counts in RAX.",
      ring: 3, maxVCPUs: CPUStart.maxVCPUsAtOnce, code: unsafe bytes(cguests_spin())),
    BuiltinGuest(
      name: "pio", description: "Endless writes to the unclaimed port 0x80; counts them in RBX.",
      ring: 3, maxVCPUs: CPUStart.maxVCPUsAtOnce, code: unsafe bytes(cguests_pio())),
    BuiltinGuest(
      name: "mmio", description: "Endless 4-byte stores to 0xD0000000, where there is no memory; counts them in RBX.",
      ring: 3, maxVCPUs: CPUStart.maxVCPUsAtOnce, code: unsafe bytes(cguests_mmio())),
    BuiltinGuest(
      name: "halt", description: "Executes HLT for ever, in ring 0.",
      ring: 0, maxVCPUs: CPUStart.maxVCPUsAtOnce, code: unsafe bytes(cguests_halt())),
    BuiltinGuest(
      name: "hello", description: "Prints \"Hello from vmpool\" on the console and exits with code 0.",
      ring: 3, maxVCPUs: 1, code: unsafe bytes(cguests_hello())),
    BuiltinGuest(
      name: "echo", description: "Writes console input back to the console; Ctrl-D (0x04) makes it exit with code 0.",
      ring: 3, maxVCPUs: 1, code: unsafe bytes(cguests_echo())),
  ]

  /// Its description for clients.
  var imageDescription: ImageDescription {
    let bytes = UInt64(code.count)
    return ImageDescription(
      kind: .builtin, sizeBytes: bytes, maxVCPUs: maxVCPUs, ring: ring, entry: 0x10000,
      segments: [.init(address: 0x10000, fileBytes: bytes, memoryBytes: bytes, access: "rwx")], notes: [:])
  }

  /// The guest of that name, if there is one.
  public static func named(_ name: String) -> BuiltinGuest? { all.first { $0.name == name } }

  /// Copies machine code out of the program's read-only data.
  private static func bytes(_ blob: cguests_blob) -> [UInt8] {
    // Safe: CGuests gives a pointer to `size` bytes that are never freed nor written.
    unsafe [UInt8](UnsafeBufferPointer(start: blob.code, count: blob.size))
  }
}

/// The kind of an image, which decides how it is loaded and started.
public enum GuestKind: String, Sendable, CaseIterable {
  /// Shipped with the server.
  case builtin
  /// Raw machine code.
  case flat
  /// A static ELF file for x86-64.
  case elf
  /// A kernel for Multiboot boot loaders, version 1.
  case multiboot
  /// A Solo5 unikernel for the hvt tender, ABI version 2.
  case solo5
  /// A Linux kernel.
  case linux
}

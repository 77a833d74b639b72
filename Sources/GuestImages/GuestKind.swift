/// What an image is, and so how it is loaded and started.
public enum GuestKind: String, Sendable, CaseIterable {
  /// Shipped with the server.
  case builtin
  /// Raw machine code.
  case flat
  /// A Linux kernel.
  case linux
}

/// What an image is, and so how it is loaded and started.
public enum GuestKind: String, Sendable, CaseIterable {
  /// Shipped with the server.
  case builtin
  /// Raw machine code.
  case flat
  /// A Solo5 unikernel for the hvt tender, ABI version 2.
  case solo5
}

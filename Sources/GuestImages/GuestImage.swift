/// What a VM runs.
public enum GuestImage: Sendable, Equatable {
  /// A guest shipped with the server.
  case builtin(BuiltinGuest)
  /// Raw machine code.
  case flat(FlatImage)

  /// The built-in guest's name, or `flat`.
  public var name: String {
    switch self {
    case .builtin(let guest): guest.name
    case .flat: "flat"
    }
  }
}

/// What a principal may do. Each operation of the API names one, which its principal must have.
public enum Scope: String, Sendable, CaseIterable {
  /// To see VMs, leases, images, pools, events and metrics.
  case read
  /// To lease VMs of pools, and to extend and release these leases.
  case lease
  /// To run guests to their end.
  case run
  /// To make VMs by hand, and to start, pause, kick and delete VMs; their consoles and registers.
  case control
  /// To store and delete images and blobs.
  case images
  /// To declare and delete pools.
  case pools
  /// To do everything, for every tenant: what an operator needs.
  case admin
}

/// A set of scopes.
public struct Scopes: OptionSet, Sendable, Hashable {
  /// One bit a scope, by its place in `Scope.allCases`.
  public let rawValue: UInt8

  /// The scopes of these bits.
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// One scope.
  public init(_ scope: Scope) {
    switch scope {
    case .read: self = .read
    case .lease: self = .lease
    case .run: self = .run
    case .control: self = .control
    case .images: self = .images
    case .pools: self = .pools
    case .admin: self = .admin
    }
  }

  /// Those of `scopes`.
  public init(_ scopes: some Sequence<Scope>) { self = scopes.reduce(into: []) { $0.formUnion(Scopes($1)) } }

  /// `Scope.read` alone, and so on.
  public static let read = Scopes(rawValue: 1 << 0)
  /// See `read`.
  public static let lease = Scopes(rawValue: 1 << 1)
  /// See `read`.
  public static let run = Scopes(rawValue: 1 << 2)
  /// See `read`.
  public static let control = Scopes(rawValue: 1 << 3)
  /// See `read`.
  public static let images = Scopes(rawValue: 1 << 4)
  /// See `read`.
  public static let pools = Scopes(rawValue: 1 << 5)
  /// See `read`.
  public static let admin = Scopes(rawValue: 1 << 6)

  /// The scopes one by one, in the order of `Scope.allCases`.
  public var all: [Scope] { Scope.allCases.filter { contains(Scopes($0)) } }

  /// Whether they allow what needs `scope`. `admin` allows everything.
  public func allows(_ scope: Scope) -> Bool { contains(.admin) || contains(Scopes(scope)) }
}

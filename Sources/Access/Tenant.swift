/// One of the parties that share a server. VMs, leases, images and pools belong to a tenant.
///
/// Its name has the form of a pool's name: a small letter, then at most 62 small letters, digits and hyphens.
public struct Tenant: Sendable, Hashable, CustomStringConvertible {
  /// Its name.
  public let name: String

  /// The tenant of that name; nil where the name does not have the form.
  public init?(_ name: String) {
    let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard let first = name.utf8.first, letters.contains(first), name.utf8.count <= 63,
      name.utf8.allSatisfy({ letters.contains($0) || digits.contains($0) || $0 == UInt8(ascii: "-") })
    else { return nil }
    self.name = name
  }

  private init(known name: String) { self.name = name }

  /// The operator's own tenant. What was made before there were tenants is its.
  public static let standard = Tenant(known: "default")

  /// The name.
  public var description: String { name }

  /// How the server calls what this tenant calls `name`: tenants may use the same names. A name of the standard tenant stays
  /// as it is. The slash occurs in no tenant's and no resource's name.
  public func qualified(_ name: String) -> String { self == .standard ? name : "\(self.name)/\(name)" }

  /// The tenant and its own name of what the server calls `qualified`.
  public static func split(_ qualified: String) -> (tenant: Tenant, name: String) {
    guard let slash = qualified.utf8.firstIndex(of: UInt8(ascii: "/")) else { return (.standard, qualified) }
    return (Tenant(known: String(qualified[..<slash])), String(qualified[qualified.utf8.index(after: slash)...]))
  }
}

import APIClient
import APIModel
import CommandLineSupport

/// A VM that a command acts on.
struct VMReference: Equatable {
  let id: String
  /// The fence of the lease that named it: the server then touches the VM only while the lease lasts. nil where the VM
  /// itself was named.
  let fence: UInt64?

  init(_ id: String, fence: UInt64? = nil) {
    self.id = id
    self.fence = fence
  }
}

extension VMPoolClient {
  /// The VM that a text names: its id, its lease's id, or a beginning of either that no other has. The prefixes `vm-`
  /// and `lease-` may be left out; alone they name nothing.
  ///
  /// A whole id costs no request, a lease's id one, and a beginning two lists. Throws an ``APIError``, or a ``Failure``
  /// where the text names none or several.
  func vmReference(_ text: String) throws -> VMReference {
    if isIdentifier(text, "vm-", digits: 16) { return VMReference(text) }
    if isIdentifier(text, "lease-", digits: 16) { return VMReference(try lease(text)) }
    try checkBeginning(text, of: ["vm-", "lease-"])
    let leases = try leases().filter { matches($0.lease, text) }
    let vms = try vms().filter { matches($0.id, text) }
    if vms.isEmpty, leases.count == 1 { return VMReference(leases[0]) }
    // A lease and its own VM that begin alike are the same VM.
    let ids = Set(vms.map(\.id) + leases.map(\.vm))
    if ids.count == 1, let id = ids.first { return VMReference(id) }
    if ids.isEmpty {
      throw Failure("There is no VM and no lease \(text); `vmpool vms` and `vmpool leases` list them.", status: 2)
    }
    throw ambiguous(text, (vms.map(\.id) + leases.map(\.lease)))
  }

  /// The id of the lease that a text names: its id, or a beginning of it that no other has. Throws as
  /// ``vmReference(_:)`` does.
  func leaseReference(_ text: String) throws -> String {
    if isIdentifier(text, "lease-", digits: 16) { return text }
    try checkBeginning(text, of: ["lease-"])
    let ids = try leases().map(\.lease).filter { matches($0, text) }
    if ids.count == 1 { return ids[0] }
    if ids.isEmpty { throw Failure("There is no lease \(text); `vmpool leases` lists them.", status: 2) }
    throw ambiguous(text, ids)
  }
}

extension VMReference {
  fileprivate init(_ lease: LeaseDocument) { self.init(lease.vm, fence: lease.fence) }
}

/// Whether a text is a whole id: the prefix, and that many hex digits.
private func isIdentifier(_ text: String, _ prefix: String, digits: Int) -> Bool {
  let rest = text.dropFirst(prefix.count)
  return text.hasPrefix(prefix) && rest.utf8.count == digits
    && rest.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
}

/// Refuses the beginning of an id that all ids of its kind have: it would name the only one that is there.
func checkBeginning(_ text: String, of prefixes: [String]) throws(Failure) {
  guard let prefix = prefixes.first(where: { !text.isEmpty && $0.hasPrefix(text) }) else { return }
  throw Failure(
    "\(text) names nothing: all ids begin with it; give at least one character of what follows \(prefix)", status: 64)
}

/// Whether an id begins with the text, its kind's prefix included or not.
private func matches(_ id: String, _ text: String) -> Bool {
  if text.isEmpty { return false }
  return id.hasPrefix(text) || id.drop { $0 != "-" }.dropFirst().hasPrefix(text)
}

private func ambiguous(_ text: String, _ ids: [String]) -> Failure {
  let shown = ids.prefix(5).joined(separator: ", ") + (ids.count > 5 ? " and \(ids.count - 5) more" : "")
  return Failure("\(text) is the beginning of several: \(shown). Give more of it.", status: 64)
}

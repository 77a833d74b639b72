/// Something that happened to a VM, a lease or a pool: the data of one server-sent event.
public struct EventDocument: Codable, Sendable, Equatable {
  /// What happened: what it happened to, a dot, and a word. Clients ignore types they do not know.
  ///
  /// `vm.ready`, `vm.running`, `vm.paused`, `vm.stopped`, `vm.deleted`, `vm.quarantined`, `vm.rejected`;
  /// `lease.granted`, `lease.extended`, `lease.released`, `lease.expired`, `lease.lost`;
  /// `pool.declared`, `pool.changed`, `pool.deleted`, `pool.exhausted`, `pool.failing`, `pool.recovered`;
  /// `reset`, when events may have been missed: read again what you keep.
  public var type: String
  /// When, RFC 3339 in UTC.
  public var at: String
  /// The pool concerned, or that of the VM or lease.
  public var pool: String?
  /// The id of the VM concerned.
  public var vm: String?
  /// The id of the lease concerned.
  public var lease: String?
  /// With `vm.stopped`, how it stopped, as in the VM's document.
  public var reason: String?
  /// With `vm.stopped`, the guest's own exit code, when `reason` is `exited`.
  public var exitCode: Int?
  /// More, for people.
  public var detail: String?

  /// An event.
  public init(
    type: String, at: String, pool: String? = nil, vm: String? = nil, lease: String? = nil, reason: String? = nil,
    exitCode: Int? = nil, detail: String? = nil
  ) {
    self.type = type
    self.at = at
    self.pool = pool
    self.vm = vm
    self.lease = lease
    self.reason = reason
    self.exitCode = exitCode
    self.detail = detail
  }

  /// Writes nil as null.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: CodingKeys.self)
    try members.encode(type, forKey: .type)
    try members.encode(at, forKey: .at)
    try members.encode(pool, forKey: .pool)
    try members.encode(vm, forKey: .vm)
    try members.encode(lease, forKey: .lease)
    try members.encode(reason, forKey: .reason)
    try members.encode(exitCode, forKey: .exitCode)
    try members.encode(detail, forKey: .detail)
  }

  enum CodingKeys: String, CodingKey {
    case type, at, pool, vm, lease, reason, detail
    case exitCode = "exit_code"
  }
}

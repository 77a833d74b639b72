/// A pool: what was declared, and how it stands.
public struct PoolDocument: Codable, Sendable, Equatable {
  /// What `pool` calls it elsewhere.
  public var name: String
  /// The name of its VMs' image.
  public var image: String
  /// Virtual CPUs of each VM.
  public var vcpus: Int
  /// Guest memory of each VM, in MiB.
  public var memoryMiB: Int
  /// How many VMs in state `ready` the server keeps.
  public var ready: Int
  /// How it stands.
  public var status: PoolStatusDocument

  /// A pool.
  public init(name: String, image: String, vcpus: Int, memoryMiB: Int, ready: Int, status: PoolStatusDocument) {
    self.name = name
    self.image = image
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.ready = ready
    self.status = status
  }

  enum CodingKeys: String, CodingKey {
    case name, image, vcpus
    case memoryMiB = "memory_mib"
    case ready, status
  }
}

/// How a pool stands.
public struct PoolStatusDocument: Codable, Sendable, Equatable {
  /// VMs ready to be taken.
  public var ready: Int
  /// VMs taken and running.
  public var running: Int
  /// VMs taken and paused.
  public var paused: Int
  /// VMs stopped and not yet deleted.
  public var stopped: Int
  /// VMs being made right now.
  public var creating: Int
  /// Why the last attempt to make a VM failed; null when it succeeded.
  public var lastError: String?

  /// A status.
  public init(ready: Int, running: Int, paused: Int, stopped: Int, creating: Int, lastError: String?) {
    self.ready = ready
    self.running = running
    self.paused = paused
    self.stopped = stopped
    self.creating = creating
    self.lastError = lastError
  }

  enum CodingKeys: String, CodingKey {
    case ready, running, paused, stopped, creating
    case lastError = "last_error"
  }
}

/// The body of `PUT /v1/pools/{pool}`.
public struct DeclarePoolDocument: Codable, Sendable, Equatable {
  /// The name of an image.
  public var image: String
  /// 1 to 8; 1 when absent.
  public var vcpus: Int?
  /// 1 to 1024; 2 when absent.
  public var memoryMiB: Int?
  /// How many VMs to keep ready, 0 to the server's limit.
  public var ready: Int

  /// A declaration; nil stands for the default.
  public init(image: String, vcpus: Int? = nil, memoryMiB: Int? = nil, ready: Int) {
    self.image = image
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.ready = ready
  }

  enum CodingKeys: String, CodingKey {
    case image, vcpus
    case memoryMiB = "memory_mib"
    case ready
  }
}

/// An image that a VM can be made of.
public struct ImageDocument: Codable, Sendable, Equatable {
  /// What `image` calls it elsewhere.
  public var name: String
  /// Whose it is; nil for one that is shipped with the server, which every tenant has.
  public var tenant: String?
  /// What it is: `builtin`, or what it was recognised as.
  public var kind: String
  /// What it does, in a sentence.
  public var description: String
  /// Size of all its parts in bytes.
  public var sizeBytes: Int
  /// The digest of its main part.
  public var digest: String
  /// The most vCPUs it can use.
  public var maxVCPUs: Int
  /// The least memory that it starts in, its modules included, in MiB.
  public var minMemoryMiB: Int
  /// The privilege level its code starts at: 0 or 3.
  public var ring: Int
  /// The guest-physical address it starts at; null where that is decided when it is loaded.
  public var entry: String?
  /// What is loaded.
  public var segments: [ImageSegmentDocument]
  /// What else there is to say of it, by name.
  public var notes: [String: String]
  /// What it is made of; null for one that is shipped with the server.
  public var manifest: ImageManifestDocument?
  /// When it was stored; RFC 3339, UTC. Null for one that is shipped with the server.
  public var createdAt: String?
  /// `usable`, or `unusable`: no VM can be made of it.
  public var state: String
  /// Why it is unusable; null where it is not.
  public var reason: String?

  /// An image.
  public init(
    name: String, kind: String, description: String, sizeBytes: Int, digest: String, maxVCPUs: Int,
    minMemoryMiB: Int, ring: Int,
    entry: String?, segments: [ImageSegmentDocument], notes: [String: String], manifest: ImageManifestDocument?,
    createdAt: String?, reason: String?, tenant: String? = nil
  ) {
    self.name = name
    self.kind = kind
    self.description = description
    self.sizeBytes = sizeBytes
    self.digest = digest
    self.maxVCPUs = maxVCPUs
    self.minMemoryMiB = minMemoryMiB
    self.ring = ring
    self.entry = entry
    self.segments = segments
    self.notes = notes
    self.manifest = manifest
    self.createdAt = createdAt
    state = reason == nil ? "usable" : "unusable"
    self.reason = reason
    self.tenant = tenant
  }

  enum CodingKeys: String, CodingKey {
    case name, tenant, kind, description
    case sizeBytes = "size_bytes"
    case digest
    case maxVCPUs = "max_vcpus"
    case minMemoryMiB = "min_memory_mib"
    case ring, entry, segments, notes, manifest
    case createdAt = "created_at"
    case state, reason
  }
}

/// A part of an image that is loaded.
public struct ImageSegmentDocument: Codable, Sendable, Equatable {
  /// The guest-physical address of its first byte.
  public var address: String
  /// Bytes that come out of the image.
  public var fileBytes: Int
  /// Bytes of memory, those that are zero at first included.
  public var memoryBytes: Int
  /// What the guest may do with it: `r`, `w` and `x` in this order, as far as they apply.
  public var access: String

  /// A segment.
  public init(address: String, fileBytes: Int, memoryBytes: Int, access: String) {
    self.address = address
    self.fileBytes = fileBytes
    self.memoryBytes = memoryBytes
    self.access = access
  }

  enum CodingKeys: String, CodingKey {
    case address
    case fileBytes = "file_bytes"
    case memoryBytes = "memory_bytes"
    case access
  }
}

/// What an image is made of: blobs by their digests, and what is said of them.
public struct ImageManifestDocument: Codable, Sendable, Equatable {
  /// What it is said to be; recognised by its bytes when null.
  public var kind: String?
  /// The digest of the image's main part, such as a kernel.
  public var kernel: String
  /// The digest of a Linux guest's initramfs, or of a Multiboot or PVH guest's first module.
  public var initramfs: String?
  /// More modules of a Multiboot or PVH guest, in their order.
  public var modules: [ImageModuleDocument]?
  /// The guest's command line, if its kind has one.
  public var commandLine: String?
  /// The digests of block devices' contents, by the names that the guest knows them by.
  public var block: [String: String]?
  /// For raw machine code: the mode it starts in.
  public var mode: String?
  /// For raw machine code: the guest-physical address of its first byte.
  public var loadAddress: String?
  /// For raw machine code: the guest-physical address it starts at.
  public var entry: String?

  /// A manifest; what is nil is left out.
  public init(
    kind: String? = nil, kernel: String, initramfs: String? = nil, modules: [ImageModuleDocument]? = nil,
    commandLine: String? = nil, block: [String: String]? = nil, mode: String? = nil, loadAddress: String? = nil,
    entry: String? = nil
  ) {
    self.kind = kind
    self.kernel = kernel
    self.initramfs = initramfs
    self.modules = modules
    self.commandLine = commandLine
    self.block = block
    self.mode = mode
    self.loadAddress = loadAddress
    self.entry = entry
  }

  enum CodingKeys: String, CodingKey {
    case kind, kernel, initramfs, modules
    case commandLine = "command_line"
    case block, mode
    case loadAddress = "load_address"
    case entry
  }
}

/// A file that a boot loader puts into memory beside the kernel.
public struct ImageModuleDocument: Codable, Sendable, Equatable {
  /// The digest of its bytes.
  public var blob: String
  /// What the guest finds with it; nothing when nil.
  public var string: String?

  /// A module.
  public init(blob: String, string: String? = nil) {
    self.blob = blob
    self.string = string
  }
}

/// A blob: bytes that images are made of.
public struct BlobDocument: Codable, Sendable, Equatable {
  /// `sha256:` and the hex digits of its hash.
  public var digest: String
  /// Its bytes; of an upload that goes on, those that are there.
  public var sizeBytes: Int
  /// The images that name it. It goes with the last of them.
  public var images: [String]
  /// `complete`, `partial` (an upload that goes on) or `damaged` (upload it again).
  public var state: String

  /// A blob.
  public init(digest: String, sizeBytes: Int, images: [String], state: String) {
    self.digest = digest
    self.sizeBytes = sizeBytes
    self.images = images
    self.state = state
  }

  enum CodingKeys: String, CodingKey {
    case digest
    case sizeBytes = "size_bytes"
    case images, state
  }
}

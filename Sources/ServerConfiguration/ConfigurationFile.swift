import APIModel
import LinuxSupport
import SystemPackage

/// The daemon's configuration file, YAML:
///
///     pools:
///       build:
///         image: hello
///         vcpus: 1
///         memory_mib: 2
///         ready: {min: 2, max: 4}     # or one number
///         max_vms: 16
///         deadline_ms: 60000
///         refill: {concurrency: 2}
///         paused: false
///         probe_interval_ms: 1000
///         ready_when: {console: "login:"}     # or loaded, started, {after_ms: 500}
///         ready_timeout_ms: 60000
///         on_release: reset                   # or replace
///         verify_reset: sampled               # or off, full
///
/// Only `pools` and a pool's `image` cannot be left out. A file that declares no pools says so: `pools: {}`. An empty
/// file, or one that ends after `pools:`, was more likely cut off, and would end every pool that the file had declared.
public struct ConfigurationFile: Sendable, Equatable {
  /// The most bytes that a file may have.
  public static let sizeLimit = 1 << 20

  private static let noPools = "write pools: {} if there are to be none"

  /// In the order of the file.
  public var pools: [PoolDeclaration] = []

  /// Reads the file at `path`, which must be a regular one.
  public init(path: String) throws(ConfigurationError) {
    try self.init(parsing: try Self.read(path), path: path)
  }

  /// Parses what a file holds; `path` is for errors only.
  public init(parsing bytes: [UInt8], path: String) throws(ConfigurationError) {
    var mistakes = Mistakes()
    if bytes.count > Self.sizeLimit {
      mistakes.add(.init(line: 1, column: 1), "the file has more than \(Self.sizeLimit) bytes; make it smaller")
    } else if let root = YAMLDocument.root(of: bytes, &mistakes), !root.isNull {
      readRoot(root, &mistakes)
    } else if mistakes.all.isEmpty {
      mistakes.add(.init(line: 1, column: 1), "the file is empty; \(Self.noPools)")
    }
    guard mistakes.all.isEmpty else { throw .mistakes(path: path, mistakes.sorted) }
  }

  private mutating func readRoot(_ root: YAMLNode, _ mistakes: inout Mistakes) {
    guard let file = MappingReader(root, at: "the file", known: ["pools"], &mistakes) else { return }
    guard let pools = file.value("pools") else {
      // A misspelt name was reported already.
      if mistakes.all.isEmpty { mistakes.add(root.position, "the file has no pools; \(Self.noPools)") }
      return
    }
    guard !pools.isNull else { return mistakes.add(pools.position, "pools is nothing; \(Self.noPools)") }
    guard let declarations = MappingReader(pools, at: "pools", &mistakes) else { return }
    for (name, key, value) in declarations.all {
      if !PoolRules.isName(name) {
        mistakes.add(key.position, "\(name.shown) is no name for a pool; \(MappingReader.nameAdvice)")
      }
      if let pool = PoolDeclaration(name, key, value, &mistakes) { self.pools.append(pool) }
    }
  }

  /// Does not wait: what is no regular file, such as a pipe that no process writes to, is refused.
  private static func read(_ path: String) throws(ConfigurationError) -> [UInt8] {
    do throws(Errno) {
      let file = try ReadableFile(path: path)
      // One more than the limit is enough to know that it is too long.
      var bytes = [UInt8](repeating: 0, count: Int(min(file.size, UInt64(sizeLimit) + 1)))
      var span = bytes.mutableSpan
      // Safe: bytes are what the span is of.
      var target = unsafe span.mutableBytes
      let count = try file.read(at: 0, into: &target)
      bytes.removeLast(bytes.count - count)
      return bytes
    } catch .invalidArgument {
      throw .cannotRead(
        path: path, reason: "it is no regular file; name a file that the server can read again at SIGHUP")
    } catch {
      throw .cannotRead(path: path, reason: "it cannot be read: \(error)")
    }
  }
}

extension PoolDeclaration {
  private static let members = [
    "image", "vcpus", "memory_mib", "ready", "max_vms", "deadline_ms", "refill", "paused",
    "probe_interval_ms", "ready_when", "ready_timeout_ms", "on_release", "verify_reset",
    "shared",
  ]

  fileprivate init?(_ name: String, _ key: YAMLNode, _ value: YAMLNode, _ mistakes: inout Mistakes) {
    let path = "pools.\(name.shown)"
    guard let pool = MappingReader(value, at: path, known: Self.members, &mistakes) else { return nil }
    let image = pool.resourceName("image", &mistakes)
    if pool.value("image") == nil {
      mistakes.add(key.position, "\(path) has no image; add image: NAME")
    }
    var document = DeclarePoolDocument(
      image: image ?? Self.anyImage, vcpus: pool.number("vcpus", in: PoolRules.vcpus, &mistakes),
      memoryMiB: pool.number("memory_mib", in: PoolRules.memoryMiB, &mistakes), ready: ReadyRange(1),
      maxVMs: pool.number("max_vms", in: PoolRules.maxVMs, &mistakes),
      deadlineMS: pool.number("deadline_ms", in: PoolRules.deadlineMS, &mistakes),
      paused: pool.boolean("paused", &mistakes),
      probeIntervalMS: pool.number("probe_interval_ms", in: PoolRules.probeIntervalMS, &mistakes),
      readyTimeoutMS: pool.number("ready_timeout_ms", in: PoolRules.readyTimeoutMS, &mistakes),
      onRelease: pool.word("on_release", &mistakes), verifyReset: pool.word("verify_reset", &mistakes),
      shared: pool.boolean("shared", &mistakes))
    if let point = pool.value("ready_when") { document.readyWhen = ReadyWhen(point, path + ".ready_when", &mistakes) }
    if let refill = pool.value("refill"),
      let reader = MappingReader(refill, at: path + ".refill", known: ["concurrency"], &mistakes)
    {
      document.refill = reader.number("concurrency", in: PoolRules.refillConcurrency, &mistakes).map {
        RefillDocument(concurrency: $0)
      }
    }
    if let node = pool.value("ready") {
      guard let ready = ReadyRange(node, path + ".ready", &mistakes) else { return nil }
      document.ready = ready
    }
    // What was wrong by itself is not in the document; this is how its members go together.
    for mistake in document.mistakes {
      let member = mistake.path.prefix { $0 != "." }
      mistakes.add(
        pool.value(String(member))?.position ?? key.position, "\(path).\(mistake.description.dropLast())")
    }
    guard image != nil else { return nil }
    self.name = name
    self.document = document
    position = key.position
  }

  /// Stands for an image whose name was complained of.
  private static let anyImage = "image"
}

extension ReadyWhen {
  private static let forms = "write loaded, started, {console: TEXT} or {after_ms: NUMBER}"

  fileprivate init?(_ node: YAMLNode, _ path: String, _ mistakes: inout Mistakes) {
    guard case .mapping = node.content else {
      switch node.content {
      case .scalar("loaded", _): self = .loaded
      case .scalar("started", _): self = .started
      case .refused: return nil
      default:
        mistakes.add(node.position, "\(path) is \(node.kind); \(Self.forms)")
        return nil
      }
      return
    }
    guard let reader = MappingReader(node, at: path, known: ["console", "after_ms"], &mistakes) else { return nil }
    switch (reader.value("console"), reader.value("after_ms")) {
    case (.some, nil):
      guard let text = reader.text("console", bytes: PoolRules.consoleBytes, &mistakes) else { return nil }
      self = .console(text)
    case (nil, .some):
      guard let time = reader.number("after_ms", in: PoolRules.afterMS, &mistakes) else { return nil }
      self = .afterMS(time)
    default:
      mistakes.add(node.position, "\(path) has not one of console and after_ms alone; \(Self.forms)")
      return nil
    }
  }
}

extension ReadyRange {
  fileprivate init?(_ node: YAMLNode, _ path: String, _ mistakes: inout Mistakes) {
    guard case .mapping = node.content else {
      guard let number = MappingReader.number(node, at: path, in: PoolRules.ready, &mistakes) else { return nil }
      self.init(number)
      return
    }
    guard let reader = MappingReader(node, at: path, known: ["min", "max"], &mistakes) else { return nil }
    for name in ["min", "max"] where reader.value(name) == nil {
      mistakes.add(node.position, "\(path) has no \(name); give both min and max, or one number for both")
    }
    guard let min = reader.number("min", in: PoolRules.ready, &mistakes),
      let max = reader.number("max", in: PoolRules.ready, &mistakes)
    else { return nil }
    self.init(min: min, max: max)
  }
}

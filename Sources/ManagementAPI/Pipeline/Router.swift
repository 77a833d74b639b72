import APIModel
import Access
import Digests
import HTTPServer
import JSONCodec

/// Finds the path that a request means.
struct Router: Sendable {
  /// A path with all its operations.
  struct Path: Sendable {
    let template: String
    fileprivate let parts: [Part]
    fileprivate(set) var routes: [Route]

    /// The value of `Allow`.
    var allow: String {
      let methods = routes.map(\.method.rawValue)
      return (methods + (methods.contains("GET") ? ["HEAD"] : []) + ["OPTIONS"]).joined(separator: ", ")
    }

    /// The operation of a method; HEAD means GET.
    func route(_ method: String) -> Route? {
      let wanted = method == "HEAD" ? "GET" : method
      return routes.first { $0.method.rawValue == wanted }
    }
  }

  fileprivate enum Part: Sendable, Equatable {
    case literal(String)
    case parameter(PathParameter)
  }

  /// Paths by their number of segments: at most a handful each.
  private let pathsByCount: [[Path]]

  init(_ routes: [Route]) {
    var byTemplate: [String: Path] = [:]
    for route in routes {
      byTemplate[route.template, default: Path(template: route.template, parts: Self.parts(route.template), routes: [])]
        .routes.append(route)
    }
    let longest = byTemplate.values.map(\.parts.count).max() ?? 0
    pathsByCount = (0...longest).map { count in
      byTemplate.values.filter { $0.parts.count == count }.sorted { $0.template < $1.template }
    }
  }

  private static func parts(_ template: String) -> [Part] {
    template.split(separator: "/").map { part in
      guard part.hasPrefix("{") else { return .literal(String(part)) }
      guard let parameter = PathParameter(rawValue: String(part.dropFirst().dropLast())) else {
        preconditionFailure("\(template) has the parameter \(part), whose form the router does not know")
      }
      return .parameter(parameter)
    }
  }

  /// The path that the segments lead to, and the values of its parameters, or which of them has a form of its own.
  func find(_ segments: [String]) -> (path: Path, parameters: Result<PathParameters, MalformedParameter>)? {
    guard segments.count < pathsByCount.count else { return nil }
    let paths = pathsByCount[segments.count]
    for path in paths {
      if let parameters = Self.match(segments, path.parts) { return (path, .success(parameters)) }
    }
    for path in paths {
      if let fault = Self.fault(segments, path.parts) { return (path, .failure(fault)) }
    }
    return nil
  }

  /// The template of a path as sent, escapes and all; nil where it leads nowhere.
  func template(ofRaw rawPath: String) -> String? {
    guard rawPath.utf8.first == UInt8(ascii: "/") else { return nil }
    if rawPath == "/" { return find([])?.path.template }
    let segments = rawPath.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard segments.count < pathsByCount.count else { return nil }
    return find(segments.map(Self.decoded))?.path.template
  }

  private static func decoded(_ segment: Substring.UTF8View) -> String {
    guard segment.contains(UInt8(ascii: "%")) else { return String(Substring(segment)) }
    var bytes: [UInt8] = []
    var rest = segment
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), let escaped = UInt8(String(Substring(rest.prefix(2))), radix: 16) {
        bytes.append(escaped)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func match(_ segments: [String], _ parts: [Part]) -> PathParameters? {
    var parameters = PathParameters()
    // From the end: there the paths of one length differ.
    for place in parts.indices.reversed() {
      let segment = segments[place]
      switch parts[place] {
      case .literal(let text): if segment != text { return nil }
      case .parameter(let parameter): if !parameter.read(segment, into: &parameters) { return nil }
      }
    }
    return parameters
  }

  /// The first parameter without its form, where all else of the path is right. A segment that is empty names nothing.
  private static func fault(_ segments: [String], _ parts: [Part]) -> MalformedParameter? {
    var fault: MalformedParameter?
    for (segment, part) in zip(segments, parts) {
      switch part {
      case .literal(let text): if segment != text { return nil }
      case .parameter(let parameter):
        if segment.isEmpty { return nil }
        var parameters = PathParameters()
        if fault == nil, !parameter.read(segment, into: &parameters) {
          fault = MalformedParameter(parameter: parameter, text: segment)
        }
      }
    }
    return fault
  }
}

/// A segment of a path that does not have the form of its parameter.
struct MalformedParameter: Error, Equatable {
  let parameter: PathParameter
  let text: String
}

/// The parameters that paths have, called as in the OpenAPI document.
enum PathParameter: String, Sendable {
  case vm, lease, index, image, pool, digest, kind
  /// Not `key`, which is what a document calls the secret.
  case key = "key_id"

  /// What it names.
  private var noun: String {
    switch self {
    case .vm: "VM id"
    case .lease: "lease id"
    case .index: "vCPU index"
    case .image: "image name"
    case .pool: "pool name"
    case .digest: "blob digest"
    case .kind: "kind of problem"
    case .key: "key id"
    }
  }

  /// Its form, as in the OpenAPI document.
  var pattern: String {
    switch self {
    case .vm: "^vm-[0-9a-f]{16}$"
    case .lease: "^lease-[0-9a-f]{16}$"
    case .index: "^([0-9]|[1-5][0-9]|6[0-3])$"
    case .image, .pool, .kind: "^[a-z][a-z0-9-]{0,62}$"
    case .digest: "^sha256:[0-9a-f]{64}$"
    case .key: "^key-[0-9a-f]{16}$"
    }
  }

  /// Its form in words.
  private var rule: String {
    switch self {
    case .vm: "vm- and 16 lower-case hex digits"
    case .lease: "lease- and 16 lower-case hex digits"
    case .index: "a number, 0 to 63"
    case .image, .pool, .kind: PoolRules.nameRule
    case .digest: "sha256: and 64 lower-case hex digits"
    case .key: "key- and 16 lower-case hex digits"
    }
  }

  /// What to say of a text without the form.
  func objection(to text: String) -> String { "\"\(text.clipped())\" is no \(noun); give \(rule) (\(pattern))" }

  /// Sets the parameter; false where the segment does not have its form.
  fileprivate func read(_ segment: String, into parameters: inout PathParameters) -> Bool {
    switch self {
    case .vm:
      guard IDForm.isVMId(segment) else { return false }
      parameters.vm = segment
    case .lease:
      guard IDForm.isLeaseId(segment) else { return false }
      parameters.lease = segment
    case .index:
      guard let index = IDForm.vcpuIndex(segment) else { return false }
      parameters.index = index
    case .image, .pool, .kind:
      guard PoolRules.isName(segment) else { return false }
      parameters.name = segment
    case .key:
      guard KeyRecord.isID(segment) else { return false }
      parameters.name = segment
    case .digest:
      guard let digest = SHA256Digest(segment) else { return false }
      parameters.digest = digest
    }
    return true
  }
}

/// The forms that ids have.
enum IDForm {
  /// `vm-` and sixteen lower-case hex digits.
  static func isVMId(_ text: String) -> Bool { isId(text, prefix: "vm-", digits: 16) }

  /// `lease-` and sixteen lower-case hex digits.
  static func isLeaseId(_ text: String) -> Bool { isId(text, prefix: "lease-", digits: 16) }

  private static func isId(_ text: String, prefix: String, digits: Int) -> Bool {
    let bytes = text.utf8
    guard bytes.count == prefix.utf8.count + digits, text.hasPrefix(prefix) else { return false }
    return bytes.suffix(digits).allSatisfy { isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) }
  }

  /// A number from 0 to 63, without leading zeros.
  static func vcpuIndex(_ text: String) -> Int? {
    guard (1...2).contains(text.utf8.count), text.utf8.allSatisfy(isDigit),
      text.utf8.count == 1 || text.utf8.first != 0x30,
      let index = Int(text), index < 64
    else { return nil }
    return index
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}

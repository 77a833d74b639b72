import Digests
import HTTPServer

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
    case vm
    case index
    case lease
    case name
    case digest
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
      switch part {
      case "{vm}": .vm
      case "{lease}": .lease
      case "{index}": .index
      case "{image}", "{pool}": .name
      case "{digest}": .digest
      default: .literal(String(part))
      }
    }
  }

  /// Every path, the shortest first.
  var allPaths: [Path] { pathsByCount.flatMap(\.self) }

  /// The path whose form the segments have. A segment that does not have its parameter's form leads nowhere.
  func find(_ segments: [String]) -> (path: Path, parameters: PathParameters)? {
    guard segments.count < pathsByCount.count else { return nil }
    for path in pathsByCount[segments.count] {
      if let parameters = Self.match(segments, path.parts) { return (path, parameters) }
    }
    return nil
  }

  /// The template of a path as sent, escapes and all; nil where it leads nowhere.
  func template(ofRaw rawPath: String) -> String? {
    guard rawPath.utf8.first == UInt8(ascii: "/") else { return nil }
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
      case .vm:
        guard Names.isVMId(segment) else { return nil }
        parameters.vm = segment
      case .lease:
        guard Names.isLeaseId(segment) else { return nil }
        parameters.lease = segment
      case .index:
        guard let index = Names.vcpuIndex(segment) else { return nil }
        parameters.index = index
      case .name:
        guard Names.isResourceName(segment) else { return nil }
        parameters.name = segment
      case .digest:
        guard let digest = SHA256Digest(segment) else { return nil }
        parameters.digest = digest
      }
    }
    return parameters
  }
}

/// The forms that names have.
enum Names {
  /// `vm-` and twelve lower-case hex digits.
  static func isVMId(_ text: String) -> Bool { isId(text, prefix: "vm-", digits: 12) }

  /// `lease-` and sixteen lower-case hex digits.
  static func isLeaseId(_ text: String) -> Bool { isId(text, prefix: "lease-", digits: 16) }

  private static func isId(_ text: String, prefix: String, digits: Int) -> Bool {
    let bytes = text.utf8
    guard bytes.count == prefix.utf8.count + digits, text.hasPrefix(prefix) else { return false }
    return bytes.suffix(digits).allSatisfy { isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) }
  }

  /// A lower-case letter, then up to 62 letters, digits and hyphens.
  static func isResourceName(_ text: String) -> Bool {
    let bytes = text.utf8
    guard (1...63).contains(bytes.count), let first = bytes.first, isLetter(first) else { return false }
    return bytes.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
  }

  /// One digit, 0 to 7.
  static func vcpuIndex(_ text: String) -> Int? {
    guard text.utf8.count == 1, let digit = text.utf8.first, (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(digit)
    else { return nil }
    return Int(digit - UInt8(ascii: "0"))
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
  private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
}

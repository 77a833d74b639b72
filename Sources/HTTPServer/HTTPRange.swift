public import LinuxSupport

extension HTTPResponse {
  /// A file with a strong entity tag, quotes included, as the request wants it (RFC 9110, 14). That is the whole file (200),
  /// one range of its bytes (206), or nothing where the range begins behind its end (416, without a body).
  ///
  /// A request for several ranges, of another unit or with another method than GET gets the whole file, as RFC 9110, 14.2
  /// allows. So does one whose `If-Range` is not this tag. Conditions (RFC 9110, 13.1) are the handler's to check before.
  public static func file(_ file: ReadableFile, etag: String, for head: HTTPRequestHead) -> HTTPResponse {
    var response = HTTPResponse(status: 200, headers: [("ETag", etag), ("Accept-Ranges", "bytes")])
    switch ByteRange.wanted(by: head, of: file.size, etag: etag) {
    case .whole: response.file = file
    case .part(let range):
      response.status = 206
      response.headers.append(("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(file.size)"))
      response.file = file
      response.fileRange = range
    case .none:
      response.status = 416
      response.headers.append(("Content-Range", "bytes */\(file.size)"))
    }
    return response
  }
}

/// Which bytes of a representation a request wants.
enum ByteRange: Equatable {
  case whole
  case part(Range<UInt64>)
  /// The range cannot be satisfied.
  case none

  static func wanted(by head: HTTPRequestHead, of size: UInt64, etag: String) -> ByteRange {
    guard head.method == "GET", let range = head.headers["Range"] else { return .whole }
    // A weak tag is not equal to any here, and neither is a date: no Last-Modified is ever sent.
    if let condition = head.headers["If-Range"], condition != etag { return .whole }
    return ByteRange(range, of: size)
  }

  /// Reads the value of `Range`. A malformed one counts as none at all (RFC 9110, 14.2).
  init(_ text: String, of size: UInt64) {
    self = .whole
    let unit = "bytes="
    guard text.lowercased().hasPrefix(unit) else { return }
    let ends = text.dropFirst(unit.count).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    guard ends.count == 2 else { return }
    let (first, last) = (ends[0], ends[1])
    if first.isEmpty {
      guard let count = Self.number(last) else { return }
      self = count > 0 && size > 0 ? .part(size - min(count, size)..<size) : .none
      return
    }
    guard let start = Self.number(first) else { return }
    let end: UInt64
    if last.isEmpty {
      end = .max
    } else {
      guard let number = Self.number(last), number >= start else { return }
      end = number
    }
    self = start < size ? .part(start..<min(end, size - 1) + 1) : .none
  }

  /// The largest number for one that does not fit.
  private static func number(_ digits: Substring) -> UInt64? {
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return UInt64(digits) ?? .max
  }
}

import BlobStore
import HTTPServer
import JSONCodec

/// Where the body of an upload goes.
final class UploadSink: HTTPBodySink {
  let upload: BlobUpload
  /// How many bytes there are to be in the end; nil for as many as come.
  let range: ContentRange?
  private let requestID: String

  init(_ upload: BlobUpload, _ range: ContentRange? = nil, requestID: String) {
    self.upload = upload
    self.range = range
    self.requestID = requestID
  }

  func take(_ piece: RawSpan) -> HTTPResponse? {
    do throws(BlobStoreError) {
      try upload.write(piece)
      return nil
    } catch {
      return APIProblem(error).response(requestID: requestID)
    }
  }
}

/// The value of `Content-Range` in a request (RFC 9110, 14.4): which part of a whole the body is.
struct ContentRange: Sendable, Equatable {
  /// Of the first byte.
  var start: Int
  /// One past the last.
  var end: Int
  /// Bytes of the whole.
  var total: Int

  /// Of the form `bytes 0-99/200`.
  init(_ text: String) throws(APIProblem) {
    let parts =
      text.hasPrefix("bytes ") ? text.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false) : []
    let ends = parts.first?.split(separator: "-", omittingEmptySubsequences: false) ?? []
    guard parts.count == 2, ends.count == 2, let start = Self.number(ends[0]), let last = Self.number(ends[1]),
      let total = Self.number(parts[1]), start <= last, last < total
    else {
      throw APIProblem(
        .badRequest, "Content-Range is \"\(text.clipped())\"; give bytes FIRST-LAST/TOTAL, such as bytes 0-99/200.")
    }
    (self.start, end, self.total) = (start, last + 1, total)
  }

  private static func number(_ text: Substring) -> Int? {
    text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(text) : nil
  }
}

import BlobStore
import Control
import HTTPServer
import JSONCodec

/// Where the body of an upload goes.
final class UploadSink: HTTPBodySink {
  let upload: BlobUpload
  /// How many bytes there are to be in the end; nil for as many as come.
  let range: ContentRange?
  private let requestID: String
  private let use: KeyUse?

  init(_ upload: BlobUpload, _ range: ContentRange? = nil, for context: Context) {
    self.upload = upload
    self.range = range
    requestID = context.requestID
    use = context.use
  }

  func take(_ piece: RawSpan) -> HTTPResponse? {
    if use?.hasEnded == true { return APIProblem.unauthenticated.response(requestID: requestID) }
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

  /// Of the form `bytes 0-99/200`; the unit in either case. A number that does not fit is the largest that does.
  init(_ text: String) throws(APIProblem) {
    let parts =
      text.lowercased().hasPrefix("bytes ")
      ? text.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false) : []
    let ends = parts.first?.split(separator: "-", omittingEmptySubsequences: false) ?? []
    guard parts.count == 2, ends.count == 2, let start = Self.number(ends[0]), let last = Self.number(ends[1]),
      let total = Self.number(parts[1])
    else { throw Self.refusal(text, "give bytes FIRST-LAST/TOTAL, such as bytes 0-99/200") }
    guard start <= last else { throw Self.refusal(text, "the first byte must not be behind the last") }
    guard last < total else {
      throw Self.refusal(text, "bytes count from 0, so the last must be less than the number of all")
    }
    (self.start, end, self.total) = (start, last + 1, total)
  }

  private static func refusal(_ text: String, _ advice: String) -> APIProblem {
    APIProblem(.badRequest, "Content-Range is \"\(text.clipped())\"; \(advice).")
  }

  private static func number(_ text: Substring) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return Int(text) ?? .max
  }
}

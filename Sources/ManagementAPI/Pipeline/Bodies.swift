import APIModel
import JSONCodec

extension Context {
  /// The body as a document.
  func document<T: Decodable>(_ type: T.Type) throws(APIProblem) -> T {
    do throws(JSONDecodingError) {
      return try JSON.decode(type, from: body)
    } catch {
      throw APIProblem(error)
    }
  }

  /// The body as a document; nil where there is none.
  func documentIfAny<T: Decodable>(_ type: T.Type) throws(APIProblem) -> T? {
    body.isEmpty ? nil : try document(type)
  }
}

/// The body of a request that needs none: an object without members.
struct EmptyDocument: Decodable {
  private enum NoMembers: CodingKey {}

  init(from decoder: any Decoder) throws {
    // An object is asked for, so that anything else is refused, and so is every member.
    _ = try decoder.container(keyedBy: NoMembers.self)
  }
}

/// Checks a number that a document gave.
func checked(
  _ value: Int?, default standard: Int, in range: ClosedRange<Int>, at pointer: String
) throws(APIProblem) -> Int {
  do throws(DocumentMistake) {
    return try APIModel.checked(value, default: standard, in: range, at: pointer)
  } catch {
    throw APIProblem(error)
  }
}

import JSONCodec
import Testing

/// Takes whatever is JSON, to any depth.
private indirect enum Anything: Decodable {
  case value
  case array([Anything])
  case object([String: Anything])

  init(from decoder: any Decoder) throws {
    if var array = try? decoder.unkeyedContainer() {
      var elements: [Anything] = []
      while !array.isAtEnd { elements.append(try array.decode(Anything.self)) }
      self = .array(elements)
    } else if (try? decoder.container(keyedBy: SomeKey.self)) != nil {
      self = .object(try [String: Anything](from: decoder))
    } else {
      self = .value
    }
  }

  struct SomeKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}

@Suite struct MalformedDocumentTests {
  @Test(arguments: [
    ("", "it is empty", 1, 1),
    (" ", "", 1, 1),
    ("{", "", 1, 1),
    ("{\"a\":1", "", 1, 6),
    ("{\"a\":1}x", "end of file expected", 1, 8),
    ("{\"a\":1}{}", "end of file expected", 1, 8),
    ("{\"a\":1,}", "", 1, 8),
    ("[1,]", "", 1, 4),
    ("{'a':1}", "", 1, 2),
    ("{a:1}", "", 1, 2),
    ("{\"a\" 1}", "':' expected", 1, 6),
    ("// c\n{}", "invalid token", 1, 1),
    ("{/* c */}", "", 1, 2),
    ("[01]", "", 1, 2),
    ("[+1]", "", 1, 2),
    ("[1.]", "", 1, 3),
    ("[.5]", "", 1, 2),
    ("[NaN]", "invalid token", 1, 4),
    ("[-Infinity]", "", 1, 2),
    ("[True]", "invalid token", 1, 5),
    ("[\"\t\"]", "control character 0x9", 1, 2),
    ("[\"\\x\"]", "invalid escape", 1, 4),
    ("[\"\\ud800\"]", "", 1, 9),
    ("[\"\\udc00\"]", "invalid Unicode '\\uDC00'", 1, 9),
    ("[\"\\ud800\\u0041\"]", "", 1, 15),
    ("\u{FEFF}{}", "", 1, 1),
    ("{\n  \"a\": ]\n}", "unexpected token", 2, 8),
  ])
  func refusesWithThePlace(document: String, reason: String, line: Int, column: Int) throws {
    let error = try #require(decodingError(Anything.self, document))
    guard case .malformed(let foundLine, let foundColumn, let foundReason) = error.kind else {
      Issue.record("\(error)")
      return
    }
    #expect(error.pointer == "")
    #expect((foundLine, foundColumn) == (line, column), "\(foundReason)")
    #expect(!foundReason.isEmpty && (reason.isEmpty || foundReason == reason))
    #expect(!foundReason.contains("near"))
  }

  @Test(arguments: [
    [0x22, 0xFF, 0x22], [0x22, 0xC0, 0xAF, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22],
    [0x22, 0xC3], [0xFE, 0xFF], [0xEF, 0xBB, 0xBF, 0x7B, 0x7D], [0x00], [0x22, 0x00, 0x22], [0x7B, 0x7D, 0x00],
  ])
  func refusesBytesThatAreNotText(document: [UInt8]) {
    let error = #expect(throws: JSONDecodingError.self) { try JSON.decode(Anything.self, from: document) }
    guard case .malformed = error?.kind else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test(arguments: ["{\"a\":1}", "[]", "1", "\"x\"", "null", " [1 , 2.5e3,-0, true]\r\n\t"])
  func acceptsWhatIsJSON(document: String) {
    #expect(decodingError(Anything.self, document) == nil)
  }

  @Test func depthIsBounded() {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    #expect(decodingError(Anything.self, nested(JSON.depthLimit)) == nil)
    let pointer = String(repeating: "/0", count: JSON.depthLimit)
    #expect(
      decodingError(Anything.self, nested(JSON.depthLimit + 1)) == JSONDecodingError(.tooDeep, pointer: pointer))
    #expect(decodingError(Anything.self, nested(100_000))?.kind == .tooDeep)
    #expect(decodingError(Anything.self, String(repeating: "{\"a\":", count: 100_000))?.kind == .tooDeep)
    // Brackets in strings are no nesting, and what is closed again is none either.
    #expect(decodingError(Anything.self, "\"\(String(repeating: "[{\\\"", count: 100))\"") == nil)
    #expect(decodingError(Anything.self, "[\(String(repeating: "[[{}]],", count: 100))1]") == nil)
  }

  @Test func numberOfValuesIsBounded() {
    let most = "[1" + String(repeating: ",1", count: JSON.valueLimit - 2) + "]"
    #expect(decodingError([Int].self, most) == nil)
    #expect(decodingError([Int].self, "[1," + most.dropFirst())?.kind == .tooManyValues)
  }

  @Test(arguments: [
    ("{\"a\":1,\"a\":2}", "/a"),
    ("{\"x\":[{},{\"y\":{\"b\":[],\"c\":0,\"b\":1}}]}", "/x/1/y/b"),
    ("[0,[1,2],{\"a/b~c\":1,\"a/b~c\":1}]", "/2/a~1b~0c"),
    ("{\"\\u0061\\\"\":1,\"a\\\"\":2}", "/a\""),
    ("{\"\":1,\"\":2}", "/"),
  ])
  func duplicateMemberIsPointedAt(document: String, pointer: String) {
    #expect(decodingError(Anything.self, document) == JSONDecodingError(.duplicateMember, pointer: pointer))
  }

  @Test(arguments: [
    (#"["\u0000"]"#, "/0"), (#"{"a":{"b":["x","y\u0000z"]}}"#, "/a/b/1"), (#""\u0000""#, ""),
    (#"{"a":{"\u0000b":1}}"#, "/a/\0b"), (#"{"a":"\\u0000","b":"\u0000"}"#, "/b"),
  ])
  func aNULIsPointedAtInOurWords(document: String, pointer: String) throws {
    let error = try #require(decodingError(Anything.self, document))
    #expect(error == JSONDecodingError(.nul, pointer: pointer))
    #expect("\(error)".hasSuffix(#" has a NUL (\u0000) in it: leave the NUL out."#))
  }

  @Test(arguments: [
    ("[9223372036854775808]", "/0"),
    ("{\"a\":[1,{\"b\":-9223372036854775809}]}", "/a/1/b"),
    ("{\"a\":1e400}", "/a"),
    ("18446744073709551616", ""),
  ])
  func numberTooBigForAnythingIsPointedAt(document: String, pointer: String) {
    #expect(decodingError(Anything.self, document) == JSONDecodingError(.outOfRange, pointer: pointer))
  }
}

import JSONCodec
import Testing

@Suite struct EncodingTests {
  @Test func membersStandAsEncodedAndNilIsWritten() throws {
    let document = text(try JSON.encode(Sample.bare))
    #expect(
      document
        == "{\"name\":\"\",\"count\":0,\"small\":0,\"total\":0,\"ratio\":0.0,\"note\":null,"
        + "\"limit\":null,\"inner\":null,\"list\":[],\"counts\":{},\"mode\":\"real16\",\"is_ready\":false}")
  }

  @Test func everyKindOfOptionalIsWrittenAsNull() throws {
    struct Options: Codable, Equatable {
      var a: Bool?, b: String?, c: Double?, d: Float?, e: Int?, f: Int8?, g: Int16?, h: Int32?, i: Int64?
      var j: UInt?, k: UInt8?, l: UInt16?, m: UInt32?, n: UInt64?, o: [Int]?, p: Sample.Mode?
    }
    let members = "abcdefghijklmnop".map { "\"\($0)\":null" }.joined(separator: ",")
    #expect(text(try JSON.encode(Options())) == "{\(members)}")
    let some = Options(
      a: true, b: "b", c: 1.5, d: 0.5, e: 1, f: 2, g: 3, h: 4, i: 5, j: 6, k: 7, l: 8, m: 9, n: 10, o: [1], p: .real16)
    #expect(try JSON.decode(Options.self, from: JSON.encode(some)) == some)
    #expect(!text(try JSON.encode(some)).contains("null"))
  }

  @Test func prettyIsIndentedByTwo() throws {
    #expect(
      text(try JSON.encodePretty(["b": [1, 2], "a": []]))
        == "{\n  \"a\": [],\n  \"b\": [\n    1,\n    2\n  ]\n}")
  }

  @Test func dictionariesAreSorted() throws {
    let names = (0..<200).map { "k\($0 * 7919 % 1000)" }
    let dictionary = Dictionary(uniqueKeysWithValues: names.map { ($0, [$0: 1, "": 0]) })
    let expected = names.sorted().map { "\"\($0)\":{\"\":0,\"\($0)\":1}" }.joined(separator: ",")
    #expect(text(try JSON.encode(dictionary)) == "{\(expected)}")
    #expect(text(try JSON.encode([2: "b", 1: "a"])) == "{\"1\":\"a\",\"2\":\"b\"}")
    #expect(text(try JSON.encode(["o": Optional(dictionary)])) == "{\"o\":{\(expected)}}")
  }

  @Test func stringsAreEscaped() throws {
    #expect(
      text(try JSON.encode(["\"\\/\u{8}\t\n\u{C}\r\u{1F}é\u{1F600}\u{2028}", ""]))
        == "[\"\\\"\\\\/\\b\\t\\n\\f\\r\\u001Fé\u{1F600}\u{2028}\",\"\"]")
    #expect(text(try JSON.encode(["b": 1, "": 2, "\"": 3])) == "{\"\":2,\"\\\"\":3,\"b\":1}")
  }

  /// jansson takes no NUL, not even an escaped one: a document with one could not be read by this very module.
  @Test func noNULIsWritten() throws {
    for text in ["\0", "a\0", "\0\0b", "é\0\u{1}\0"] {
      let replaced = text.replacing("\0", with: "\u{FFFD}")
      #expect(try JSON.decode([String].self, from: JSON.encode([text])) == [replaced])
      #expect(try JSON.decode([String: Int].self, from: JSON.encodePretty([text: 1])) == [replaced: 1])
      #expect(try JSON.decode(Told.self, from: JSON.encode(Told(what: text, labels: [text: text]))).what == replaced)
    }
  }

  @Test func realNumbersAreShortWhereTheyCanBe() throws {
    #expect(text(try JSON.encode([0.1, 1, -2.5, 1.05, 1e21, 123456.789])) == "[0.1,1.0,-2.5,1.05,1e+21,123456.789]")
    // 0.1 + 0.2 needs seventeen digits.
    #expect(text(try JSON.encode([0.1 + 0.2])) == "[0.30000000000000004]")
  }

  @Test(arguments: [Double.nan, .infinity, -.infinity])
  func numbersThatAreNotFiniteAreRefused(number: Double) {
    #expect(encodingError(["a": [1, number]]) == JSONEncodingError(.notFinite, pointer: "/a/1"))
    #expect(encodingError(["a/b~": number]) == JSONEncodingError(.notFinite, pointer: "/a~1b~0"))
    #expect(encodingError([Float(number)]) == JSONEncodingError(.notFinite, pointer: "/0"))
    #expect(encodingError(Optional(number)) == JSONEncodingError(.notFinite, pointer: ""))
  }

  @Test func integersBeyondSixtyFourSignedBitsAreRefused() {
    var sample = Sample.full
    sample.total = UInt64(Int64.max) + 1
    #expect(encodingError(sample) == JSONEncodingError(.integerOutOfRange, pointer: "/total"))
    #expect(encodingError([UInt.max]) == JSONEncodingError(.integerOutOfRange, pointer: "/0"))
    #expect(encodingError([Int64.min]) == nil)
  }

  @Test func objectionOfATypeGetsItsPointer() {
    struct Shy: Encodable {
      func encode(to encoder: any Encoder) throws {
        throw EncodingError.invalidValue(self, .init(codingPath: [], debugDescription: "not today"))
      }
    }
    #expect(encodingError(["x": [Shy()]]) == JSONEncodingError(.badValue("not today"), pointer: "/x/0"))
  }

  @Test func typeThatEncodesNothingIsAnEmptyObject() throws {
    struct Nothing: Encodable { func encode(to encoder: any Encoder) throws {} }
    #expect(text(try JSON.encode(Nothing())) == "{}")
    #expect(text(try JSON.encode([Nothing()])) == "[{}]")
  }

  @Test func scalarsCanBeDocuments() throws {
    #expect(text(try JSON.encode("x")) == "\"x\"")
    #expect(text(try JSON.encode(Int?.none)) == "null")
    #expect(try JSON.decode(Bool.self, from: JSON.encode(true)))
  }

  @Test func containersAreClosedByWhatFollows() throws {
    struct Nested: Encodable {
      enum Keys: String, CodingKey { case first, second, third, fourth }

      func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try "early".encode(to: members.superEncoder(forKey: .first))
        var list = members.nestedUnkeyedContainer(forKey: .second)
        try [1].encode(to: list.superEncoder())
        _ = list.superEncoder()
        try list.encode(2)
        var inner = list.nestedContainer(keyedBy: Keys.self)
        try inner.encode(true, forKey: .fourth)
        _ = inner.nestedUnkeyedContainer(forKey: .first)
        #expect(list.count == 4)
        try list.encodeNil()
        // The same object again, as a superclass asks for it.
        var again = encoder.container(keyedBy: Keys.self)
        try again.encode("x", forKey: .third)
      }
    }
    let expected = "{\"first\":\"early\",\"second\":[[1],{},2,{\"fourth\":true,\"first\":[]},null],\"third\":\"x\"}"
    #expect(text(try JSON.encode(Nested())) == expected)
    #expect(text(try JSON.encode([Nested()])) == "[\(expected)]")
  }

  @Test func writingOutOfTurnIsTheProgramsMistake() async {
    await #expect(processExitsWith: .failure) {
      struct Late: Encodable {
        enum Keys: CodingKey { case first, second }

        func encode(to encoder: any Encoder) throws {
          var members = encoder.container(keyedBy: Keys.self)
          var list = members.nestedUnkeyedContainer(forKey: .first)
          try members.encode(1, forKey: .second)
          try list.encode(1)
        }
      }
      _ = try JSON.encode(Late())
    }
  }

  @Test func documentCanFollowOtherText() throws {
    #expect(text(try JSON.encode([1], after: bytes("data: ["))) == "data: [[1]")
    #expect(text(try JSON.encode(Told(what: "", labels: [:]), after: bytes("{"))).hasPrefix("{{\"what\":\"\","))
    #expect(throws: JSONEncodingError(.notFinite, pointer: "/a")) {
      try JSON.encode(["a": Double.nan], after: bytes("{\"b\":["))
    }
  }

  /// What writes itself reads the same as what is encoded.
  @Test func whatWritesItselfIsAsEncoded() throws {
    for told in [
      Told(what: "", labels: [:]),
      Told(
        what: "é\"\u{1}", note: "n", isSo: true, number: .max, count: .min, labels: ["b": "\n", "a": "", "\"": "x"]),
      Told(what: "x", number: UInt64(Int64.max), count: 10, labels: [:], others: [Told(what: "y", labels: [:])]),
    ] {
      if told.number == .max {
        #expect(throws: JSONEncodingError(.integerOutOfRange, pointer: "/number")) { try JSON.encode(told) }
      } else {
        #expect(text(try JSON.encode(told)) == text(try JSON.encode(Encoded(value: told))))
      }
    }
  }

  @Test func inheritanceUsesTheSuperMember() throws {
    class Base: Codable { var a = 1 }
    final class Derived: Base {
      var b = 2
      enum CodingKeys: String, CodingKey { case b, `super` }
      override init() { super.init() }
      required init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        b = try members.decode(Int.self, forKey: .b)
        try super.init(from: members.superDecoder())
      }
      override func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(b, forKey: .b)
        try super.encode(to: members.superEncoder())
      }
    }
    let document = try JSON.encode(Derived())
    #expect(text(document) == "{\"b\":2,\"super\":{\"a\":1}}")
    #expect(try JSON.decode(Derived.self, from: document).a == 1)
  }
}

/// A value that writes itself, and can be encoded.
private struct Told: Codable, JSONWritable {
  var what: String
  var note: String?
  var isSo = false
  var number: UInt64?
  var count = 0
  var labels: [String: String]
  var others: [Told] = []

  func write(to json: inout JSONWriter) throws(JSONEncodingError) {
    try json.object { json throws(JSONEncodingError) in
      json.member("what", what)
      json.member("note", note)
      json.member("isSo", isSo)
      try json.member("number", number)
      json.member("count", count)
      json.member("labels", labels)
      try json.member("others", others)
    }
  }
}

/// A value without its own way of writing itself.
private struct Encoded<Value: Encodable>: Encodable {
  let value: Value

  func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
}

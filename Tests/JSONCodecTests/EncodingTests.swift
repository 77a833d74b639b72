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
      text(try JSON.encode(["\"\\/\u{8}\n\u{1F}\u{0}é\u{1F600}\u{2028}", ""]))
        == "[\"\\\"\\\\/\\b\\n\\u001F\\u0000é\u{1F600}\u{2028}\",\"\"]")
    #expect(text(try JSON.encode(["a\u{0}b": 1, "": 2, "\"": 3])) == "{\"\":2,\"\\\"\":3,\"a\\u0000b\":1}")
  }

  @Test func realNumbersAreShortWhereTheyCanBe() throws {
    #expect(text(try JSON.encode([0.1, 1, -2.5, 1.05, 1e21, 123456.789])) == "[0.1,1.0,-2.5,1.05,1e21,123456.789]")
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

  @Test func containersMayBeWrittenOutOfTurn() throws {
    struct Late: Encodable {
      enum Keys: String, CodingKey { case first, second, third, fourth }

      func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        let late = members.superEncoder(forKey: .first)
        var list = members.nestedUnkeyedContainer(forKey: .second)
        let lateElement = list.superEncoder()
        try list.encode(2)
        var inner = list.nestedContainer(keyedBy: Keys.self)
        try members.encode("x", forKey: .third)
        try inner.encode(true, forKey: .fourth)
        try [1].encode(to: lateElement)
        try "late".encode(to: late)
        try members.encode("y", forKey: .third)
        try list.encodeNil()
      }
    }
    #expect(
      text(try JSON.encode(Late())) == "{\"first\":\"late\",\"second\":[[1],2,{\"fourth\":true},null],\"third\":\"y\"}")
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

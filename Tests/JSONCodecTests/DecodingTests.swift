import JSONCodec
import Testing

private struct Pair: Decodable, Equatable {
  var a: Int8
  var b: [String: [UInt8]]?
}

private struct Percent: Decodable {
  init(from decoder: any Decoder) throws {
    let number = try decoder.singleValueContainer().decode(Int.self)
    if number > 100 {
      throw DecodingError.dataCorrupted(.init(codingPath: [], debugDescription: "must be 0 to 100"))
    }
    if number < 0 { throw Below() }
  }

  struct Below: Error, CustomStringConvertible { var description: String { "below zero" } }
}

private struct Shares: Decodable { var shares: [Percent] }

/// Objects to a member that it has read already.
private struct Window: Decodable {
  enum CodingKeys: String, CodingKey { case from, to }

  init(from decoder: any Decoder) throws {
    let members = try decoder.container(keyedBy: CodingKeys.self)
    let (from, to) = (try members.decode(Int.self, forKey: .from), try members.decode(Int.self, forKey: .to))
    if from > to { throw DecodingError.dataCorruptedError(forKey: .to, in: members, debugDescription: "before from") }
  }
}

@Suite struct DecodingTests {
  @Test(arguments: [
    ("{\"b\":null}", JSONDecodingError.Kind.missingMember, "/a"),
    ("{}", .missingMember, "/a"),
    ("[]", .wrongType(expected: "an object", found: "an array"), ""),
    ("7", .wrongType(expected: "an object", found: "an integer"), ""),
    ("{\"a\":null}", .wrongType(expected: "an integer", found: "null"), "/a"),
    ("{\"a\":\"1\"}", .wrongType(expected: "an integer", found: "a string"), "/a"),
    ("{\"a\":true}", .wrongType(expected: "an integer", found: "a boolean"), "/a"),
    ("{\"a\":1.5}", .wrongType(expected: "an integer", found: "a number with a fraction or exponent"), "/a"),
    ("{\"a\":1e-1}", .wrongType(expected: "an integer", found: "a number with a fraction or exponent"), "/a"),
    ("{\"a\":128}", .outOfRange, "/a"),
    ("{\"a\":-129}", .outOfRange, "/a"),
    ("{\"a\":1,\"b\":{\"x\":[1,2,256]}}", .outOfRange, "/b/x/2"),
    ("{\"a\":1,\"b\":{\"x\":[1],\"y~/z\":[-1]}}", .outOfRange, "/b/y~0~1z/0"),
    ("{\"a\":1,\"b\":{\"x\":{}}}", .wrongType(expected: "an array", found: "an object"), "/b/x"),
    ("{\"a\":1,\"b\":[]}", .wrongType(expected: "an object", found: "an array"), "/b"),
    ("{\"a\":1,\"c\":1}", .unknownMember, "/c"),
    ("{\"a\":1,\"A\":1}", .unknownMember, "/A"),
    ("{\"a\":1,\"~/\":1}", .unknownMember, "/~0~1"),
    ("{\"a\":1,\"\":1}", .unknownMember, "/"),
  ])
  func refusalsPointAtTheMember(document: String, kind: JSONDecodingError.Kind, pointer: String) {
    #expect(decodingError(Pair.self, document) == JSONDecodingError(kind, pointer: pointer))
  }

  @Test func unknownMemberDeepInside() {
    let document = "{\"list\":[{\"id\":1,\"tags\":[]},{\"id\":1,\"tags\":[],\"ids\":2}]}"
    #expect(decodingError([String: [Sample.Inner]].self, document)?.pointer == "/list/1/ids")
    #expect(decodingError([String: [Sample.Inner]].self, document, unknownMembers: .ignore) == nil)
  }

  @Test func memberThatOnlyComparesEqualIsUnknown() {
    struct Temperature: Decodable {
      var kelvin: Int
      enum CodingKeys: String, CodingKey { case kelvin = "K" }
    }
    #expect("\u{212A}" == "K")
    #expect(decodingError(Temperature.self, "{\"K\":1}") == nil)
    #expect(decodingError(Temperature.self, "{\"K\":1,\"\u{212A}\":2}")?.kind == .unknownMember)
  }

  @Test(arguments: [
    (JSON.UnknownMembers.refuse, "{\"a\":1,\"b\":{\"anything\":[0],\"\":[]}}"),
    (.ignore, "{\"a\":1,\"zzz\":{\"a\":[]}}"),
  ])
  func acceptedMembers(unknownMembers: JSON.UnknownMembers, document: String) {
    #expect(decodingError(Pair.self, document, unknownMembers: unknownMembers) == nil)
  }

  @Test func integerLimits() throws {
    #expect(try JSON.decode([Int8].self, from: bytes("[-128,127,-0]")) == [-128, 127, 0])
    #expect(try JSON.decode([UInt64].self, from: bytes("[0,9223372036854775807]")) == [0, UInt64(Int64.max)])
    #expect(try JSON.decode([Int64].self, from: bytes("[-9223372036854775808]")) == [.min])
    #expect(decodingError([UInt64].self, "[0,-1]") == JSONDecodingError(.outOfRange, pointer: "/1"))
    #expect(decodingError([UInt64].self, "[9223372036854775808]") == JSONDecodingError(.outOfRange, pointer: "/0"))
    #expect(decodingError(UInt16.self, "65536") == JSONDecodingError(.outOfRange, pointer: ""))
  }

  @Test func integersMayBeWrittenAsReals() throws {
    let document = bytes("[420.0,4.2e2,4200e-1,-1.0,-0.0,9007199254740991.0]")
    #expect(try JSON.decode([Int64].self, from: document) == [420, 420, 420, -1, 0, 9_007_199_254_740_991])
    #expect(try JSON.decode(UInt8.self, from: bytes("2.55e2")) == 255)
    for tooLarge in ["2.56e2", "-1.0", "9007199254740992.0", "9007199254740993.0", "-1e300", "1e300"] {
      #expect(decodingError(UInt8.self, tooLarge) == JSONDecodingError(.outOfRange, pointer: ""), "\(tooLarge)")
    }
    #expect(decodingError(Int64.self, "-9007199254740992.0")?.kind == .outOfRange)
    #expect(decodingError(Bool.self, "1.0")?.kind != nil)
  }

  @Test func realMemberTakesAnyNumber() throws {
    #expect(try JSON.decode([Double].self, from: bytes("[1,-2.5,1e-7]")) == [1, -2.5, 1e-7])
    #expect(decodingError([Float].self, "[1,1e39]") == JSONDecodingError(.outOfRange, pointer: "/1"))
    #expect(decodingError([Double].self, "[\"1\"]")?.kind == .wrongType(expected: "a number", found: "a string"))
  }

  @Test(arguments: [
    ("{\"shares\":[5,101]}", "must be 0 to 100", "/shares/1"), ("{\"shares\":[-1]}", "below zero", "/shares/0"),
  ])
  func objectionOfATypeGetsItsPointer(document: String, message: String, pointer: String) {
    #expect(decodingError(Shares.self, document) == JSONDecodingError(.badValue(message), pointer: pointer))
  }

  @Test func objectionToAMemberPointsAtTheMember() {
    #expect(
      decodingError([Window].self, "[{\"from\":2,\"to\":1}]")
        == JSONDecodingError(.badValue("before from"), pointer: "/0/to"))
  }

  @Test func unknownCaseIsABadValueWithItsPointer() throws {
    let document = text(try JSON.encode(Sample.full)).replacing("long64", with: "long65")
    let error = try #require(decodingError(Sample.self, document))
    #expect(error.pointer == "/mode")
    guard case .badValue(let message) = error.kind else {
      Issue.record("\(error)")
      return
    }
    #expect(message.contains("long65"))
  }

  @Test func optionalMembersMayBeNullOrAbsent() throws {
    #expect(try JSON.decode(Pair.self, from: bytes("{\"a\":1,\"b\":null}")) == Pair(a: 1, b: nil))
    #expect(try JSON.decode(Pair.self, from: bytes("{\"a\":1}")) == Pair(a: 1, b: nil))
    #expect(try JSON.decode([Int?].self, from: bytes("[1,null]")) == [1, nil])
    #expect(try JSON.decode([String: Int?].self, from: bytes("{\"x\":null}")) == ["x": nil])
  }

  @Test func nestedContainersKnowTheirPlace() {
    struct Nested: Decodable {
      enum Keys: String, CodingKey { case outer, inner }

      init(from decoder: any Decoder) throws {
        let outer = try decoder.container(keyedBy: Keys.self)
        var list = try outer.nestedUnkeyedContainer(forKey: .outer)
        _ = try list.decode(Bool.self)
        #expect(try list.decodeNil())
        let inner = try list.nestedContainer(keyedBy: Keys.self)
        _ = try inner.superDecoder(forKey: .inner).singleValueContainer().decode(String.self)
        #expect(inner.allKeys == [.inner])
        _ = try list.decode(Int.self)
      }
    }
    let place = "{\"outer\":[true,null,{\"inner\":"
    #expect(decodingError(Nested.self, place + "\"\"},1]}") == nil)
    #expect(decodingError(Nested.self, place + "1},1]}")?.pointer == "/outer/2/inner")
    #expect(decodingError(Nested.self, place + "\"\",\"x\":1},1]}")?.pointer == "/outer/2/x")
    #expect(
      decodingError(Nested.self, place + "\"\"}]}") == JSONDecodingError(.missingMember, pointer: "/outer/3"))
  }

  @Test func descriptionsAreSentences() {
    let table: [(JSONDecodingError.Kind, String, String)] = [
      (
        .malformed(line: 1, column: 1, reason: "it is empty"), "",
        "The document is not valid JSON: it is empty (line 1, column 1)."
      ),
      (.missingMember, "/a", "The member /a is missing."),
      (.duplicateMember, "/a", "The member /a is given twice."),
      (.wrongType(expected: "a string", found: "null"), "/a/0", "/a/0 must be a string, not null."),
      (.wrongType(expected: "an object", found: "an array"), "", "The document must be an object, not an array."),
      (.outOfRange, "", "The document is a number out of range."),
      (.badValue("must be 0 to 100"), "/a", "/a: must be 0 to 100."),
      (.tooDeep, "/0", "The document is nested deeper than 32 levels."),
    ]
    for (kind, pointer, sentence) in table {
      #expect(JSONDecodingError(kind, pointer: pointer).description == sentence)
    }
  }

  @Test func descriptionStaysShort() {
    let document = "{\"a\":1,\"\(String(repeating: "e\u{301}", count: 50_000))\":1}"
    let error = decodingError(Pair.self, document)
    #expect(error?.pointer.utf8.count == 150_001)
    #expect((error?.description.utf8.count ?? .max) < 600)
    let message = decodingError(Sample.Mode.self, "\"\(String(repeating: "x", count: 100_000))\"")?.description
    #expect((message?.utf8.count ?? .max) < 600)
  }
}

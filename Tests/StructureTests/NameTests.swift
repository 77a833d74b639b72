import Testing

/// Names mean one thing, and calls say what they pass.
struct NameTests {
  @Test func noTypeStandsInTwoModules() throws {
    let declaration = /^(?:@\w+(?:\([^)]*\))? )*((?:\w+ )*)(?:struct|class|enum|protocol|actor|typealias) (\w+)/
    var modules: [String: Set<Substring>] = [:]
    for (path, text) in try Repository.files(in: "Sources", endings: ["swift"]) {
      for line in text.split(separator: "\n") where !line.hasPrefix(" ") {
        guard let match = line.firstMatch(of: declaration), !match.1.contains("private") else { continue }
        modules[String(match.2), default: []].insert(path.split(separator: "/")[1])
      }
    }
    for (name, places) in modules where places.count > 1 {
      Issue.record("\(name) is a type of \(places.sorted().joined(separator: " and of "))")
    }
  }

  @Test func publicFunctionsLabelTheirArguments() throws {
    let function =
      /public (?:(?:static|mutating|consuming|borrowing|nonisolated) )*(?:func (\w+)|init\??)(?:<[^>]*>)?\(/
    for (path, text) in try Repository.files(in: "Sources", endings: ["swift"]) {
      for match in text.matches(of: function) {
        let parameters = Self.parameters(text[match.range.upperBound...])
        guard parameters.count >= 3, parameters.count(where: { $0.hasPrefix("_ ") }) > 1 else { continue }
        Issue.record("\(path): \(match.1 ?? "init") takes arguments without labels")
      }
    }
  }

  /// The parameters that stand before the parenthesis that closes them.
  private static func parameters(_ text: Substring) -> [String] {
    var depth = 0
    var parameters = [""]
    for character in text {
      switch character {
      case "(", "[", "<", "{": depth += 1
      case ")" where depth == 0: return parameters.map { String($0.drop(while: \.isWhitespace)) }
      // An arrow's head closes nothing.
      case ">" where parameters[parameters.count - 1].hasSuffix("-"): break
      case ")", "]", ">", "}": depth -= 1
      case "," where depth == 0:
        parameters.append("")
        continue
      default: break
      }
      parameters[parameters.count - 1].append(character)
    }
    return parameters
  }
}

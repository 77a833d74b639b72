/// What becomes of a pool's VM whose lease has ended: `"reset"` or `"replace"`.
public enum OnRelease: String, Codable, Sendable, CaseIterable {
  /// It is put back to the pool's template, and leased again.
  case reset
  /// It is taken apart, and another one is made.
  case replace

  /// Reads a word.
  public init(from decoder: any Decoder) throws { self = try decoder.word() }
}

/// Which VMs that were reset are compared with the template before they are leased again: `"off"`, `"sampled"` or `"full"`.
public enum VerifyReset: String, Codable, Sendable, CaseIterable {
  /// None.
  case off
  /// The first, and every 64th after it.
  case sampled
  /// All.
  case full

  /// Reads a word.
  public init(from decoder: any Decoder) throws { self = try decoder.word() }
}

extension CaseIterable where Self: RawRepresentable<String> {
  /// The words there are, as an error names them.
  public static var words: String { PoolRules.list(allCases.map(\.rawValue)) }
}

extension Decoder {
  fileprivate func word<Word: CaseIterable & RawRepresentable<String>>() throws -> Word {
    let value = try singleValueContainer()
    guard let word = Word(rawValue: try value.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: value, debugDescription: "give \(Word.words)")
    }
    return word
  }
}

import JSONCodec
import TestSupport
import Testing

private struct RandomSamples {
  var generator: SeededGenerator

  mutating func string() -> String {
    let scalars: [Unicode.Scalar] = [
      "a", "Z", "\"", "\\", "/", "~", "\u{1}", "\u{7F}", "é", "\u{301}", "\u{FFFF}", "😀",
    ]
    return String(
      String.UnicodeScalarView(
        (0..<Int.random(in: 0...9, using: &generator)).map { _ in
          scalars.randomElement(using: &generator) ?? "a"
        }))
  }

  mutating func double() -> Double {
    while true {
      let number: Double
      switch Int.random(in: 0...3, using: &generator) {
      case 0: number = Double(bitPattern: generator.next())
      case 1: number = Double(sign: .plus, exponent: Int.random(in: -1074...1023, using: &generator), significand: 1)
      case 2: number = Double(Int.random(in: -1_000_000...1_000_000, using: &generator)) / 1000
      default: number = Double.random(in: -1...1, using: &generator)
      }
      if number.isFinite { return number }
    }
  }

  mutating func inner() -> Sample.Inner {
    Sample.Inner(
      id: Int(truncatingIfNeeded: generator.next()),
      tags: (0..<Int.random(in: 0...3, using: &generator)).map { _ in string() })
  }

  mutating func sample() -> Sample {
    var counts: [String: UInt64] = [:]
    for _ in 0..<Int.random(in: 0...5, using: &generator) { counts[string()] = generator.next() >> 1 }
    return Sample(
      name: string(), count: Int(truncatingIfNeeded: generator.next()), small: .random(in: 0...255, using: &generator),
      total: generator.next() >> 1, ratio: double(), isReady: .random(using: &generator),
      note: Bool.random(using: &generator) ? string() : nil, limit: Bool.random(using: &generator) ? 7 : nil,
      inner: Bool.random(using: &generator) ? inner() : nil,
      list: (0..<Int.random(in: 0...3, using: &generator)).map { _ in inner() }, counts: counts, mode: .long64)
  }
}

@Suite struct RandomDocumentTests {
  /// Printed with every failure; put it here to see the same documents again.
  private let seed = UInt64.random(in: .min ... .max)

  @Test func whatIsEncodedIsDecodedAgain() throws {
    var random = RandomSamples(generator: SeededGenerator(seed: seed))
    for round in 0..<1000 {
      let sample = random.sample()
      let document = try JSON.encode(sample)
      #expect(try JSON.decode(Sample.self, from: document) == sample, "seed \(seed), round \(round)")
      #expect(try JSON.decode(Sample.self, from: JSON.encodePretty(sample)) == sample, "seed \(seed), round \(round)")
      #expect(try JSON.encode(sample) == document, "seed \(seed), round \(round)")
    }
  }

  @Test func everyRealNumberComesBack() throws {
    var random = RandomSamples(generator: SeededGenerator(seed: seed))
    for round in 0..<5000 {
      let number = random.double()
      #expect(try JSON.decode(Double.self, from: JSON.encode(number)) == number, "seed \(seed), round \(round)")
    }
  }

  @Test func powersOfTwoComeBack() throws {
    for exponent in -1074...1023 {
      let number = Double(sign: .plus, exponent: exponent, significand: 1)
      #expect(try JSON.decode(Double.self, from: JSON.encode(number)) == number, "2^\(exponent)")
    }
  }

  /// Changed documents are either refused or mean something that can be written and read again.
  @Test func mutatedDocumentsAreRefusedOrConsistent() throws {
    var random = RandomSamples(generator: SeededGenerator(seed: seed))
    let alphabet = Array("{}[]\",:\\/u0019eE+-. truefalsn\u{0}\u{1}".utf8) + [0x80, 0xC3, 0xED, 0xFF]
    var accepted = 0
    for round in 0..<5000 {
      var document = try JSON.encode(random.sample())
      for _ in 0..<Int.random(in: 1...4, using: &random.generator) {
        let place = Int.random(in: 0..<document.count, using: &random.generator)
        let end = Int.random(in: place...min(place + 8, document.count), using: &random.generator)
        let byte = alphabet.randomElement(using: &random.generator) ?? 0
        switch Int.random(in: 0...4, using: &random.generator) {
        case 0: document[place] = UInt8.random(in: 0...255, using: &random.generator)
        case 1: document[place] = byte
        case 2: document.insert(byte, at: place)
        case 3: document.insert(contentsOf: document[place..<end], at: place)
        default: document.removeSubrange(place..<end)
        }
        if document.isEmpty { break }
      }
      do {
        let sample = try JSON.decode(Sample.self, from: document)
        accepted += 1
        #expect(try JSON.decode(Sample.self, from: JSON.encode(sample)) == sample, "seed \(seed), round \(round)")
      } catch let error as JSONDecodingError {
        #expect(!error.description.isEmpty && error.description.utf8.count < 1200, "seed \(seed), round \(round)")
      }
    }
    #expect(accepted > 0 && accepted < 5000, "seed \(seed): the changes do too little or too much")
  }
}

import CYAML

/// Reads a YAML document from libyaml's events.
///
/// It refuses by name what a configuration file does not need, and what makes YAML dangerous. That is anchors and aliases (a
/// small file that means a huge one), tags, several documents, and nesting far deeper than our file's.
@safe struct YAMLDocument {
  typealias Position = ConfigurationMistake.Position

  private static let deepest = 16

  // Safe: both outlive this value, which lives in `root` alone.
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let bytes: UnsafeBufferPointer<UInt8>
  private var mistakes = Mistakes()

  /// The root of the only document in `bytes`, nil if it is empty or cannot be read; adds what is wrong to `mistakes`.
  static func root(of bytes: [UInt8], _ mistakes: inout Mistakes) -> YAMLNode? {
    // Safe: the parser stays where it is, since libyaml keeps a pointer to it, is initialised before it is used, and
    // deleted when nothing uses it any more. The bytes outlive it; an empty array may have no address, and no length.
    let (root, found) = unsafe bytes.withUnsafeBufferPointer { bytes in
      unsafe withUnsafeTemporaryAllocation(of: yaml_parser_t.self, capacity: 1) { parser in
        guard let parser = parser.baseAddress, unsafe yaml_parser_initialize(parser) == 1 else {
          var mistakes = Mistakes()
          mistakes.add(Position(line: 1, column: 1), "there is no memory to read the file")
          return (nil as YAMLNode?, mistakes)
        }
        defer { unsafe yaml_parser_delete(parser) }
        unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        unsafe yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
        var document = unsafe YAMLDocument(parser: parser, bytes: bytes)
        let root = document.stream()
        return (root, document.mistakes)
      }
    }
    mistakes = found
    return root
  }

  private init(parser: UnsafeMutablePointer<yaml_parser_t>, bytes: UnsafeBufferPointer<UInt8>) {
    // Safe: see the properties.
    unsafe self.parser = parser
    unsafe self.bytes = bytes
  }

  private mutating func stream() -> YAMLNode? {
    var root: YAMLNode?
    var documents = 0
    while let event = next() {
      switch event.kind {
      case .streamStart, .documentEnd: continue
      case .streamEnd: return root
      case .documentStart:
        documents += 1
        guard documents == 1 else {
          mistakes.add(event.position, "a second document begins here; keep one to a file")
          return nil
        }
      default:
        guard let node = node(event, depth: 1) else { return nil }
        root = node
      }
    }
    return nil
  }

  /// The node that begins with `event`; nil if reading cannot go on.
  private mutating func node(_ event: Event, depth: Int) -> YAMLNode? {
    guard depth <= Self.deepest else {
      mistakes.add(event.position, "this is nested more than \(Self.deepest) deep; nothing here goes so deep")
      return nil
    }
    if let property = event.property {
      mistakes.add(event.position, "\(property) are not taken here; write out what is meant")
    }
    var node = YAMLNode(content: .refused, position: event.position)
    switch event.kind {
    case .scalar(let text, let isPlain): node.content = .scalar(text, isPlain: isPlain)
    case .sequenceStart:
      var elements: [YAMLNode] = []
      while true {
        guard let first = next() else { return nil }
        if case .end = first.kind { break }
        guard let element = self.node(first, depth: depth + 1) else { return nil }
        elements.append(element)
      }
      node.content = .sequence(elements)
    case .mappingStart:
      var members: [YAMLNode.Member] = []
      while true {
        guard let first = next() else { return nil }
        if case .end = first.kind { break }
        guard let key = self.node(first, depth: depth + 1), let second = next(),
          let value = self.node(second, depth: depth + 1)
        else { return nil }
        members.append(.init(key: key, value: value))
      }
      node.content = .mapping(members)
    default: break
    }
    if event.property != nil { node.content = .refused }
    return node
  }

  // MARK: Events

  private struct Event {
    enum Kind {
      case streamStart, streamEnd, documentStart, documentEnd, alias, sequenceStart, mappingStart, end
      case scalar(String, isPlain: Bool)
    }

    var kind: Kind
    var position: Position
    /// What it carries that is refused.
    var property: String?
  }

  /// The next event; nil after a mistake that ends reading.
  private mutating func next() -> Event? {
    // Safe: a local of zeroes. The parser is initialised, and fills it; its strings are copied before it is deleted.
    var event = unsafe yaml_event_t()
    guard unsafe yaml_parser_parse(parser, &event) == 1 else {
      addSyntaxError()
      return nil
    }
    defer { unsafe yaml_event_delete(&event) }
    var result = Event(kind: .end, position: Position(unsafe event.start_mark))
    // Safe: each member of the union is read for the type of event that has it.
    switch unsafe event.type {
    case YAML_STREAM_START_EVENT: result.kind = .streamStart
    case YAML_DOCUMENT_START_EVENT: result.kind = .documentStart
    case YAML_DOCUMENT_END_EVENT: result.kind = .documentEnd
    case YAML_ALIAS_EVENT:
      result.kind = .alias
      result.property = "aliases"
    case YAML_SCALAR_EVENT:
      let scalar = unsafe event.data.scalar
      let text = unsafe String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
      result.kind = .scalar(text, isPlain: unsafe scalar.style == YAML_PLAIN_SCALAR_STYLE)
      result.property = Self.property(unsafe scalar.anchor != nil, unsafe scalar.tag != nil)
    case YAML_SEQUENCE_START_EVENT:
      let start = unsafe event.data.sequence_start
      result.kind = .sequenceStart
      result.property = Self.property(unsafe start.anchor != nil, unsafe start.tag != nil)
    case YAML_MAPPING_START_EVENT:
      let start = unsafe event.data.mapping_start
      result.kind = .mappingStart
      result.property = Self.property(unsafe start.anchor != nil, unsafe start.tag != nil)
    case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: result.kind = .end
    default: result.kind = .streamEnd
    }
    return result
  }

  private static func property(_ hasAnchor: Bool, _ hasTag: Bool) -> String? {
    hasAnchor ? "anchors" : hasTag ? "tags" : nil
  }

  private mutating func addSyntaxError() {
    // Safe: the parser is initialised, and its messages are literals of libyaml's.
    let problem = unsafe parser.pointee.problem.map { unsafe String(cString: $0) } ?? "no memory to read on"
    let context = unsafe parser.pointee.context.map { unsafe " " + String(cString: $0) } ?? ""
    guard unsafe parser.pointee.error == YAML_READER_ERROR else {
      return mistakes.add(Position(unsafe parser.pointee.problem_mark), "this is not YAML: \(problem)\(context)")
    }
    // The bytes are not text, so libyaml knows no line.
    let before = unsafe Array(bytes.prefix(parser.pointee.problem_offset))
    let line = before.count { $0 == 0x0A } + 1
    let column = String(decoding: before.reversed().prefix { $0 != 0x0A }.reversed(), as: UTF8.self).unicodeScalars
      .count
    mistakes.add(Position(line: line, column: column + 1), "this is not UTF-8 text: \(problem)")
  }
}

extension ConfigurationMistake.Position {
  fileprivate init(_ mark: yaml_mark_t) { self.init(line: mark.line + 1, column: mark.column + 1) }
}

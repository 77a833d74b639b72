extension StateDatabase {
  /// Begins the request that came with the idempotency key `key`, or says what became of the one that came first.
  ///
  /// - Parameters:
  ///   - scope: what the key belongs to: method and path.
  ///   - fingerprint: differs between bodies, for instance a hash of the body.
  ///   - answer: an answer that no longer holds. Where the key still stands for that one, it is forgotten first.
  ///   - nowMS: Unix milliseconds.
  public func beginIdempotent(
    scope: String, key: String, fingerprint: [UInt8], forgetting answer: StoredResponse? = nil, nowMS: Int
  ) throws(StateStoreError) -> IdempotencyOutcome {
    try write(nil) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.deleteAnswers(
        "WHERE scope = ? AND key = ? AND (at_ms <= ? OR (headers = ? AND body = ?))", .text(scope), .text(key),
        .int(nowMS - limits.retentionMS), .text(answer.map(Self.text(ofHeadersOf:))),
        answer.map { .blob($0.body) } ?? .null)
      try connection.run(
        """
        INSERT INTO idempotency(scope, key, fingerprint, epoch, at_ms) VALUES(?, ?, ?, ?, ?)
        ON CONFLICT(scope, key) DO NOTHING
        """, .text(scope), .text(key), .blob(fingerprint), .int(recovered.epoch), .int(nowMS))
      if connection.changes == 1 {
        connection.contents.answerBytes += RowBytes.key(scope: scope, key: key, fingerprint: fingerprint)
        return .new
      }
      let outcomes = try connection.rows(
        "SELECT fingerprint, epoch, status, headers, body FROM idempotency WHERE scope = ? AND key = ?", .text(scope),
        .text(key)
      ) { row throws(StateStoreError) in outcome(row, fingerprint) }
      guard let outcome = outcomes.first else {
        throw .corrupted(path: path, reason: "an idempotency key is in the index and not in the table")
      }
      return outcome
    }
  }

  private func outcome(_ row: borrowing Row, _ fingerprint: [UInt8]) -> IdempotencyOutcome {
    guard row.blob(0) == fingerprint else { return .mismatch }
    if row.isNull(2) { return row.int(1) == recovered.epoch ? .inProgress : .interrupted }
    let parts = row.text(3).split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
    let headers = stride(from: 0, to: parts.count - 1, by: 2).map {
      StoredResponse.Field(name: parts[$0], value: parts[$0 + 1])
    }
    return .replay(StoredResponse(status: row.int(2), headers: headers, body: row.blob(4)))
  }

  /// Keeps the answer to a request that was begun: the key stands for it from now on.
  public func finishIdempotent(scope: String, key: String, _ response: StoredResponse) throws(StateStoreError) {
    guard !response.headers.contains(where: { ($0.name + $0.value).utf8.contains(0) }) else {
      throw .conflict("a header field of the answer to the idempotency key \(key) has a NUL in it")
    }
    let headers = Self.text(ofHeadersOf: response)
    try write(nil) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run(
        """
        UPDATE idempotency SET status = ?, headers = ?, body = ?
        WHERE scope = ? AND key = ? AND status IS NULL AND epoch = ?
        """, .int(response.status), .text(headers), .blob(response.body), .text(scope),
        .text(key), .int(recovered.epoch))
      guard connection.changes == 1 else {
        throw .conflict("no request with the idempotency key \(key) is in progress")
      }
      connection.contents.answerBytes += headers.utf8.count + response.body.count
    }
  }

  /// How a row keeps header fields.
  private static func text(ofHeadersOf response: StoredResponse) -> String {
    response.headers.flatMap { [$0.name, $0.value] }.joined(separator: "\0")
  }

  /// Forgets a request that was begun and refused before anything happened: the key may come again.
  public func abandonIdempotent(scope: String, key: String) throws(StateStoreError) {
    try write(nil) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      let deleted = try connection.deleteAnswers(
        "WHERE scope = ? AND key = ? AND status IS NULL AND epoch = ?", .text(scope), .text(key),
        .int(recovered.epoch))
      guard deleted == 1 else {
        throw .conflict("no request with the idempotency key \(key) is in progress")
      }
    }
  }
}

extension SQLiteConnection {
  /// Deletes the idempotency keys that `condition` selects, and returns how many those were.
  @discardableResult
  mutating func deleteAnswers(_ condition: String, _ values: Value...) throws(StateStoreError) -> Int {
    var deleted = 0
    var bytes = 0
    try execute("DELETE FROM idempotency \(condition) RETURNING \(RowBytes.answerSQL)", values) {
      row throws(StateStoreError) in
      deleted += 1
      bytes += row.int(0)
    }
    contents.answerBytes -= bytes
    return deleted
  }
}

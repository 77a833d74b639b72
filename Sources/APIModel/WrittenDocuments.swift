import JSONCodec

// What is answered or published most writes itself. A test holds each to what its `Encodable` conformance says.

extension KickDocument: JSONWritable {
  /// Writes every member.
  public func write(to json: inout JSONWriter) throws(JSONEncodingError) {
    try json.object { json throws(JSONEncodingError) in
      json.member("vm", vm)
      json.member("vcpu", vcpu)
      try json.member("generation", generation)
      json.member("mechanism", mechanism)
      json.member("phase", phase)
      json.member("coalesced", coalesced)
      json.member("signals_sent", signalsSent)
      try json.member("latency_ns", latencyNS)
      try json.member("signal_latency_ns", signalLatencyNS)
    }
  }
}

extension KickAllDocument: JSONWritable {
  /// Writes every member.
  public func write(to json: inout JSONWriter) throws(JSONEncodingError) {
    try json.object { json throws(JSONEncodingError) in
      json.member("vm", vm)
      try json.member("kicks", kicks)
    }
  }
}

extension LeaseDocument: JSONWritable {
  /// Writes every member.
  public func write(to json: inout JSONWriter) throws(JSONEncodingError) {
    try json.object { json throws(JSONEncodingError) in
      json.member("lease", lease)
      json.member("tenant", tenant)
      json.member("pool", pool)
      json.member("vm", vm)
      try json.member("fence", fence)
      json.member("labels", labels)
      json.member("granted_at", grantedAt)
      json.member("expires_at", expiresAt)
      json.member("max_expires_at", maxExpiresAt)
    }
  }
}

extension EventDocument: JSONWritable {
  /// Writes every member.
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("type", type)
      json.member("at", at)
      json.member("pool", pool)
      json.member("vm", vm)
      json.member("lease", lease)
      json.member("reason", reason)
      json.member("exit_code", exitCode)
      json.member("detail", detail)
    }
  }
}

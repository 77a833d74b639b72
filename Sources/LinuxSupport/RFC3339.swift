import CLinux

/// Times as the API and the log write them, without the formatters of Foundation, which cost more than a kick.
public enum RFC3339 {
  /// `2025-01-31T12:00:00.000Z` for milliseconds since 1970, in UTC; any time from year 0 to 9999.
  public static func text(milliseconds: Int64) -> String {
    var (seconds, fraction) = milliseconds.quotientAndRemainder(dividingBy: 1000)
    if fraction < 0 { (seconds, fraction) = (seconds - 1, fraction + 1000) }
    let time = clinux_utc(seconds)
    // Safe: the span knows the buffer's size, and says how much of it was written.
    return unsafe String(unsafeUninitializedCapacity: 24) { buffer in
      var out = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
      putTwo(time.year / 100, into: &out)
      putTwo(time.year % 100, then: "-", into: &out)
      putTwo(time.month, then: "-", into: &out)
      putTwo(time.day, then: "T", into: &out)
      putTwo(time.hour, then: ":", into: &out)
      putTwo(time.minute, then: ":", into: &out)
      putTwo(time.second, then: ".", into: &out)
      let thousandths = Int32(fraction)
      put(thousandths / 100, into: &out)
      putTwo(thousandths % 100, then: "Z", into: &out)
      return unsafe out.finalize(for: buffer)
    }
  }

  private static func put(_ digit: Int32, into out: inout OutputSpan<UInt8>) {
    out.append(0x30 + UInt8(truncatingIfNeeded: digit))
  }

  private static func putTwo(_ value: Int32, then mark: Unicode.Scalar? = nil, into out: inout OutputSpan<UInt8>) {
    put(value / 10, into: &out)
    put(value % 10, into: &out)
    if let mark { out.append(UInt8(ascii: mark)) }
  }
}

/// The right to send one streamed answer, from any thread and in any order of calls.
///
/// A stream that is dropped before it is finished is cut off.
public final class HTTPStream: Sendable {
  let transfer: Transfer

  init(_ transfer: Transfer) { self.transfer = transfer }

  deinit { transfer.cut() }

  /// Appends bytes. Never blocks. False when the stream is over, or ends now because its client is too slow: more than
  /// `streamBacklogLimit` bytes would wait for it. The bytes are lost then. True does not promise that the client gets them.
  @discardableResult
  public func send(_ bytes: [UInt8]) -> Bool { transfer.send(bytes) }

  /// Ends the answer, once everything sent before is out. A client that does not take it is cut off after the
  /// inactivity timeout.
  public func finish() { transfer.finish() }

  /// Cuts the answer off: the client sees that it is incomplete.
  public func cut() { transfer.cut() }

  /// Has `body` called once, on any thread, when the stream is over; at once if it is. A stream is over when it is finished
  /// and sent, or cut off. It is over when its client leaves or half-closes, and when the server stops. The last closure given
  /// counts; it must not block.
  public func whenClosed(_ body: @escaping @Sendable () -> Void) { transfer.whenClosed(body) }
}

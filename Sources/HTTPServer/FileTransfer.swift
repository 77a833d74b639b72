import LinuxSupport
import Synchronization

/// A file, or a part of one, on its way to a client. Workers read it, a piece at a time, while the connection is suspended:
/// a disk may take long, and the connection's thread serves others.
final class FileTransfer: Sendable {
  private struct State {
    /// Read and not taken: those from `start` on.
    var bytes: [UInt8] = []
    var start = 0
    /// Bytes that libmicrohttpd has taken.
    var given = 0
    /// Set while libmicrohttpd has the connection suspended.
    var isSuspended = false
    /// The file cannot be read any more, or the rest is not wanted.
    var isOver = false
  }

  /// Bytes of the answer.
  let size: Int
  private let file: ReadableFile
  private let offset: UInt64
  private let mayGoOn: (@Sendable () -> Bool)?
  private let thread: ServerThread
  private let connection: MHDConnection
  /// Guards all of `State`, and thereby `connection`, which is good until `end`. Its place among the locks is that of
  /// `Transfer.state`. The file is not read under it.
  private let state = Mutex(State())

  /// Bytes read at a time, and kept for each download.
  private static let pieceSize = 128 << 10

  /// Of the file of `response`, as far as its range goes.
  init(_ file: ReadableFile, of response: HTTPResponse, _ thread: ServerThread, _ connection: MHDConnection) {
    let range = response.fileRange ?? 0..<file.size
    mayGoOn = response.mayGoOn
    self.file = file
    offset = range.lowerBound
    size = Int(clamping: range.upperBound - range.lowerBound)
    self.thread = thread
    self.connection = connection
  }

  /// Bytes that libmicrohttpd has taken so far.
  var given: Int { state.withLock { $0.given } }

  /// Copies what has been read, as far as it fits; asks for more where there is nothing. On the connection's own thread.
  func read(at position: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> AnswerPiece {
    let piece = state.withLock { state -> AnswerPiece in
      if state.isOver { return .failure }
      let count = min(buffer.count, state.bytes.count - state.start)
      guard count > 0 else {
        state.isSuspended = true
        connection.suspend()
        return .none
      }
      let end = state.start + count
      // Safe: the slice fits into the buffer, which is libmicrohttpd's for the call.
      unsafe state.bytes[state.start..<end].withUnsafeBytes { unsafe buffer.copyMemory(from: $0) }
      state.start = end
      state.given += count
      return .bytes(count)
    }
    if case .none = piece { fetch(position) }
    return piece
  }

  /// The rest is not wanted. True when the connection was suspended, and goes on now. On the connection's own thread.
  @discardableResult
  func end() -> Bool {
    state.withLock { state in
      state.isOver = true
      return resume(&state)
    }
  }

  private func fetch(_ position: UInt64) {
    do throws(WorkerPool.Refusal) {
      try thread.core.disk.submit { self.load(position) }
    } catch {
      // The system gives no thread, so this one has to do.
      load(position)
    }
  }

  /// Reads the next piece, on a worker's thread.
  private func load(_ position: UInt64) {
    var bytes = [UInt8](repeating: 0, count: min(Self.pieceSize, size - Int(clamping: position)))
    var span = bytes.mutableSpan
    // Safe: bytes are what the span is of.
    var target = unsafe span.mutableBytes
    let isWanted = mayGoOn?() ?? true
    let count = isWanted ? (try? file.read(at: offset + position, into: &target)) ?? 0 : 0
    state.withLock { state in
      state.start = 0
      state.bytes = bytes
      state.bytes.removeLast(bytes.count - count)
      // A file that became shorter must not end as if it were whole.
      if count == 0 { state.isOver = true }
      resume(&state)
    }
  }

  @discardableResult
  private func resume(_ state: inout State) -> Bool {
    guard state.isSuspended else { return false }
    state.isSuspended = false
    // Alive: libmicrohttpd frees no suspended connection, and it is resumed under this lock, once.
    connection.resume()
    thread.wake()
    return true
  }
}

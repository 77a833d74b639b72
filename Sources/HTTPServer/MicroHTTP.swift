import CMicroHTTP
import Glibc

// libmicrohttpd's objects behind types that need no care to use. Callbacks.swift is the way back.
//
// Safe, in all of this file: a type's pointer is valid as long as its value, as each type says. Its functions are called
// where libmicrohttpd allows them, as each of them says. Strings and structures live for the call.

/// A connection, valid until its request's completed callback.
///
/// SAFETY (`@unchecked Sendable`): all calls but `resume` are made on the connection's own thread.
@safe struct MHDConnection: @unchecked Sendable {
  private let pointer: OpaquePointer

  /// Safe: the pointer comes from a callback, and the value does not outlive the request.
  @unsafe init(_ pointer: OpaquePointer) { unsafe self.pointer = pointer }

  var socket: Int32 { unsafe cmicrohttp_socket(pointer) }

  /// Nil on a connection without TLS.
  var tlsSession: TLSSession? {
    // Safe: the session is the connection's, and so is the value.
    unsafe cmicrohttp_tls_session(pointer).map { unsafe TLSSession(OpaquePointer($0)) }
  }

  /// Bytes of the request's head, the empty line included.
  var headSize: Int { unsafe cmicrohttp_head_size(pointer) }

  /// Status of the queued response, ours or libmicrohttpd's own; 0 without one.
  var queuedStatus: Int { unsafe Int(cmicrohttp_status(pointer)) }

  /// Begins the inactivity timeout anew. On the connection's own thread.
  func renewTimeout(seconds: Int) { unsafe cmicrohttp_renew_timeout(pointer, UInt32(clamping: seconds)) }

  /// Only within a callback of this connection.
  func suspend() { unsafe MHD_suspend_connection(pointer) }

  /// Only while suspended; from any thread.
  func resume() { unsafe MHD_resume_connection(pointer) }

  /// False when libmicrohttpd takes no response now.
  func queue(_ response: borrowing MHDResponse, status: Int) -> Bool {
    unsafe MHD_queue_response(pointer, UInt32(clamping: status), response.pointer) == .YES
  }

  /// Gives every header field to the scan, in order, until it declines.
  func walkFields(_ scan: inout HeadScan) {
    // Safe: the scan outlives the walk, which calls back on this thread only.
    _ = unsafe withUnsafeMutablePointer(to: &scan) { context in
      unsafe MHD_get_connection_values_n(pointer, .HEADER_KIND, headerField, context)
    }
  }
}

/// A response; what has been queued lives on without this value.
@safe struct MHDResponse: ~Copyable {
  fileprivate let pointer: OpaquePointer

  /// The body, copied, or what comes out of a transfer or a file. Nil when memory is short.
  init?(_ body: [UInt8], _ transfer: Transfer?, _ file: FileTransfer?, isForHEAD: Bool) {
    if let transfer { self.init(transfer) } else if let file { self.init(file) } else { self.init(body) }
    // libmicrohttpd would let the end of a chunked body follow the head.
    if transfer != nil, isForHEAD { unsafe cmicrohttp_response_unchunked(pointer) }
  }

  private init?(_ body: [UInt8]) {
    // Safe: the bytes are copied within the call.
    guard let made = unsafe body.withUnsafeBytes({ unsafe cmicrohttp_response($0.baseAddress, $0.count) }) else {
      return nil
    }
    unsafe pointer = made
  }

  /// A chunk is as large as the connection's buffer; the size of a piece matters to HTTP/1.0 only.
  private init?(_ transfer: Transfer) {
    unsafe self.init(transfer, size: .max, piece: 4096, read: streamReader, free: streamFreed)
  }

  private init?(_ file: FileTransfer) {
    unsafe self.init(file, size: UInt64(file.size), piece: 64 << 10, read: fileReader, free: fileFreed)
  }

  /// A body that `read` gives in pieces. libmicrohttpd keeps `source` alive until it calls `free`, which releases it.
  private init?(
    _ source: AnyObject, size: UInt64, piece: Int, read: MHD_ContentReaderCallback, free: MHD_ContentReaderFreeCallback
  ) {
    let context = unsafe Unmanaged.passRetained(source)
    guard let made = unsafe MHD_create_response_from_callback(size, piece, read, context.toOpaque(), free) else {
      unsafe context.release()
      return nil
    }
    unsafe pointer = made
  }

  deinit { unsafe MHD_destroy_response(pointer) }

  /// False when the field cannot go on the wire.
  func add(_ name: String, _ value: String) -> Bool {
    // libmicrohttpd itself looks for CR and LF, and cuts at a NUL.
    guard ASCII.isToken(name.utf8.span), ASCII.isValue(value.utf8.span) else { return false }
    // The implicit conversion of a string to a pointer would allocate.
    return unsafe name.withCString { name in
      // Safe: both strings are copied within the call.
      unsafe value.withCString { value in unsafe MHD_add_response_header(pointer, name, value) == .YES }
    }
  }
}

/// A daemon: a listening socket and its connections, run by the caller's thread.
///
/// Several of these share a socket, rather than one with a thread pool. To stop a pool shuts the listening socket down, also
/// for the process that passed it to us. To quiesce a busy pool first can abort.
@safe final class MHDDaemon {
  private let pointer: OpaquePointer
  private let wakeDescriptor: Int32

  /// TLS 1.2 and 1.3 with forward secrecy and authenticated encryption alone, strongest first; no SHA-1.
  static let priorities =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:-MAC-ALL:+AEAD:-CIPHER-ALL"
    + ":+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:%SERVER_PRECEDENCE"

  /// Listens on a duplicate of `socket`. Nil when it cannot be made.
  init?(_ socket: Int32, _ thread: ServerThread, _ log: MHDLog, speaksTLS: Bool) {
    let configuration = thread.core.configuration
    let own = fcntl(socket, F_DUPFD_CLOEXEC, 0)
    guard own >= 0 else { return nil }
    // Safe: the thread and its log live until `stop`; the options are read within the call.
    var options = unsafe cmicrohttp_options(
      // Connections past the limit are closed by us; this bounds what is on its way.
      listen_fd: own, tls_priorities: nil,
      connection_limit: UInt32(configuration.load.connectionLimit + 2 * ServerThread.reserve),
      memory_limit: configuration.connectionMemoryLimit, inactivity_s: UInt32(configuration.inactivityTimeout),
      begun: requestBegun, access: requestProceeds, completed: requestCompleted, notify: connectionChanged,
      context: Unmanaged.passUnretained(thread).toOpaque(), log: log.pointer)
    // Nobody knows whether a failure has closed the duplicate. It is left alone: better one lost than a stranger's.
    let started = unsafe Self.priorities.withCString { priorities in
      unsafe options.tls_priorities = speaksTLS ? priorities : nil
      return unsafe cmicrohttp_start(&options)
    }
    guard let made = unsafe started else { return nil }
    let wakeDescriptor = unsafe cmicrohttp_wake_make(made)
    guard wakeDescriptor >= 0 else {
      unsafe MHD_stop_daemon(made)
      return nil
    }
    unsafe pointer = made
    self.wakeDescriptor = wakeDescriptor
  }

  deinit { close(wakeDescriptor) }

  /// Waits for events and deals with them. Always on the same thread. False when it could not even wait.
  func run(milliseconds: Int32) -> Bool { unsafe MHD_run_wait(pointer, milliseconds) == .YES }

  /// Ends the wait, or the next one. From any thread.
  func wake() { cmicrohttp_wake(wakeDescriptor) }

  /// Closes the duplicate and all connections. Once, with no connection suspended.
  func stop() { unsafe MHD_stop_daemon(pointer) }
}

/// Where a daemon's diagnostics go; must outlive it.
@safe final class MHDLog: @unchecked Sendable {
  fileprivate let pointer: UnsafeMutablePointer<cmicrohttp_log>

  init(_ thread: ServerThread) {
    unsafe pointer = .allocate(capacity: 1)
    // Safe: the thread keeps its log and outlives its daemon, and only the daemon uses the pointer.
    unsafe pointer.initialize(
      to: cmicrohttp_log(sink: diagnosticLine, context: Unmanaged.passUnretained(thread).toOpaque()))
  }

  deinit { unsafe pointer.deallocate() }
}

enum MicroHTTP {
  // SAFETY of both: constant strings.
  static var version: String { unsafe String(cString: MHD_get_version()) }

  static func reasonPhrase(_ status: Int) -> String {
    unsafe String(cString: MHD_get_reason_phrase_for(UInt32(clamping: status)))
  }
}

import CMicroHTTP
import Glibc

// libmicrohttpd's callbacks: file-scope functions, so that none of them is taken to belong to an actor.
//
// Safe, in all of this file: the context is the ServerThread, which outlives its daemon. A connection's context is a
// retained Connection, from CONNECTION_NOTIFY_STARTED to CONNECTION_NOTIFY_CLOSED, its last callback. A request's
// context is an Exchange that its connection holds from the request line to the completed callback. A field's context is
// the scan of the call that walks the fields. Strings and pieces of body are valid for the call.

/// A socket was accepted or is about to be closed.
func connectionChanged(
  context: UnsafeMutableRawPointer?, mhd: OpaquePointer?, slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
  what: MHD_ConnectionNotificationCode
) {
  guard let context = unsafe context, let mhd = unsafe mhd, let slot = unsafe slot else { return }
  if what == .CONNECTION_NOTIFY_STARTED {
    let thread = unsafe Unmanaged<ServerThread>.fromOpaque(context).takeUnretainedValue()
    let connection = unsafe Connection(thread, MHDConnection(mhd))
    unsafe slot.pointee = Unmanaged.passRetained(connection).toOpaque()
    thread.add(connection)
  } else if let opaque = unsafe slot.pointee {
    let connection = unsafe Unmanaged<Connection>.fromOpaque(opaque).takeRetainedValue()
    unsafe slot.pointee = nil
    // libmicrohttpd forgets to end a request when it fails to watch its socket.
    connection.exchange?.end(sent: false, ownStatus: 0)
    connection.thread.remove(connection)
  }
}

/// A request line is complete; what is returned becomes the request's context.
func requestBegun(
  context: UnsafeMutableRawPointer?, target: UnsafePointer<CChar>?, mhd: OpaquePointer?
) -> UnsafeMutableRawPointer? {
  guard let target = unsafe target, let mhd = unsafe mhd, let opaque = unsafe cmicrohttp_socket_context(mhd) else {
    return nil
  }
  let connection = unsafe Unmanaged<Connection>.fromOpaque(opaque).takeUnretainedValue()
  let bytes = unsafe Array(UnsafeRawBufferPointer(start: target, count: strlen(target)))
  let exchange = Exchange(connection, target: bytes, at: UInt(bitPattern: target))
  connection.begin(exchange)
  return unsafe Unmanaged.passUnretained(exchange).toOpaque()
}

/// A head, a piece of a body, the end of one, or the end of a suspension. NO closes the connection.
func requestProceeds(
  context: UnsafeMutableRawPointer?, mhd: OpaquePointer?, url: UnsafePointer<CChar>?, method: UnsafePointer<CChar>?,
  version: UnsafePointer<CChar>?, piece: UnsafePointer<CChar>?, size: UnsafeMutablePointer<Int>?,
  slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
  guard let mhd = unsafe mhd, let method = unsafe method, let version = unsafe version, let size = unsafe size,
    let opaque = unsafe slot?.pointee
  else { return .NO }
  let exchange = unsafe Unmanaged<Exchange>.fromOpaque(opaque).takeUnretainedValue()
  let connection = unsafe MHDConnection(mhd)
  let goesOn: Bool
  if exchange.awaitsHead {
    let line = unsafe RequestLine(
      method: String(cString: method), methodAddress: UInt(bitPattern: method),
      isVersion10: strcmp(version, "HTTP/1.0") == 0,
      versionAddress: UInt(bitPattern: version))
    goesOn = exchange.receiveHead(connection, line)
  } else if let piece = unsafe piece {
    goesOn = unsafe exchange.receive(
      connection, UnsafeRawBufferPointer(start: piece, count: size.pointee), rest: &size.pointee)
  } else {
    goesOn = exchange.receiveEnd(connection)
  }
  return goesOn ? .YES : .NO
}

/// One field of a head, for the scan that is the context. NO ends the walk.
func headerField(
  context: UnsafeMutableRawPointer?, kind: MHD_ValueKind, name: UnsafePointer<CChar>?, nameSize: Int,
  value: UnsafePointer<CChar>?, valueSize: Int
) -> MHD_Result {
  guard let scan = unsafe context?.assumingMemoryBound(to: HeadScan.self) else { return .NO }
  let goesOn = unsafe scan.pointee.add(
    UnsafeRawBufferPointer(start: name, count: nameSize), UnsafeRawBufferPointer(start: value, count: valueSize))
  return goesOn ? .YES : .NO
}

/// A request is over.
func requestCompleted(
  context: UnsafeMutableRawPointer?, mhd: OpaquePointer?, slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
  how: MHD_RequestTerminationCode
) {
  guard let mhd = unsafe mhd, let slot = unsafe slot, let opaque = unsafe slot.pointee else { return }
  unsafe slot.pointee = nil
  let exchange = unsafe Unmanaged<Exchange>.fromOpaque(opaque).takeUnretainedValue()
  let status = unsafe MHDConnection(mhd).queuedStatus
  exchange.end(sent: how == .REQUEST_TERMINATED_COMPLETED_OK, ownStatus: status)
}

/// A stream's next bytes are wanted.
func streamReader(
  context: UnsafeMutableRawPointer?, position: UInt64, buffer: UnsafeMutablePointer<CChar>?, capacity: Int
) -> Int {
  guard let context = unsafe context else { return cmicrohttp_end_with_error }
  // Safe: the response holds a reference to its transfer until it is freed; the buffer is ours for this call.
  let transfer = unsafe Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
  return answered(unsafe transfer.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: capacity)))
}

private func answered(_ piece: AnswerPiece) -> Int {
  switch piece {
  case .bytes(let count): return count
  // Suspended: otherwise libmicrohttpd would ask again at once, and for ever.
  case .none: return 0
  case .end: return cmicrohttp_end_of_stream
  case .failure: return cmicrohttp_end_with_error
  }
}

/// A stream's response is freed.
func streamFreed(context: UnsafeMutableRawPointer?) {
  // Safe: the reference was given to the response when it was made.
  if let context = unsafe context { unsafe Unmanaged<Transfer>.fromOpaque(context).release() }
}

/// A file's next bytes are wanted.
func fileReader(
  context: UnsafeMutableRawPointer?, position: UInt64, buffer: UnsafeMutablePointer<CChar>?, capacity: Int
) -> Int {
  guard let context = unsafe context else { return cmicrohttp_end_with_error }
  // Safe: as for a stream's.
  let transfer = unsafe Unmanaged<FileTransfer>.fromOpaque(context).takeUnretainedValue()
  return answered(
    unsafe transfer.read(at: position, into: UnsafeMutableRawBufferPointer(start: buffer, count: capacity)))
}

/// A file's response is freed.
func fileFreed(context: UnsafeMutableRawPointer?) {
  // Safe: the reference was given to the response when it was made.
  if let context = unsafe context { unsafe Unmanaged<FileTransfer>.fromOpaque(context).release() }
}

/// One line of libmicrohttpd's diagnostics.
func diagnosticLine(context: UnsafeMutableRawPointer, line: UnsafePointer<CChar>) {
  let thread = unsafe Unmanaged<ServerThread>.fromOpaque(context).takeUnretainedValue()
  thread.note(unsafe String(cString: line))
}

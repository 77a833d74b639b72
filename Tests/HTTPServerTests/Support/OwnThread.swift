import Glibc

/// Runs a closure on a thread of its own.
final class OwnThread {
  fileprivate final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  private let thread: pthread_t

  init(_ run: @escaping @Sendable () -> Void) throws {
    var made = pthread_t()
    let body = unsafe Unmanaged.passRetained(Body(run)).toOpaque()
    guard unsafe pthread_create(&made, nil, ownThreadMain, body) == 0 else {
      throw RawClient.Failure(description: "pthread_create failed")
    }
    thread = made
  }

  func join() { pthread_join(thread, nil) }
}

/// Something that one thread uses at a time, handed to another.
struct Handed<Value>: @unchecked Sendable { let value: Value }

private func ownThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let context = unsafe context { unsafe Unmanaged<OwnThread.Body>.fromOpaque(context).takeRetainedValue().run() }
  return nil
}

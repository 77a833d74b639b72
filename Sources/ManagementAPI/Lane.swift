import Dispatch

/// Where work goes that an HTTP thread must not wait for.
enum Lane: Sendable {
  /// Work that keeps a processor busy for milliseconds: as many at a time as there are processors, more or less.
  case working
  /// Mere waiting, for as long as a minute: a thread each, since the threads of a concurrent queue are so few that
  /// a handful of waiters would keep everybody else from working.
  case waiting

  private static let workers = DispatchQueue(label: "vmpool.api.work", attributes: .concurrent)

  func run(_ work: @escaping @Sendable () -> Void) {
    switch self {
    case .working: Self.workers.async(execute: work)
    case .waiting: DispatchQueue(label: "vmpool.api.wait").async(execute: work)
    }
  }
}

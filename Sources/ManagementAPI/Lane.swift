import Dispatch

/// Where work goes that an HTTP thread must not wait for.
enum Lane: Sendable {
  /// Work that keeps a processor busy for milliseconds: as many at a time as there are processors, more or less.
  case working
  /// A thread of its own: for mere waiting, as long as a minute perhaps, and for what must not queue behind others'
  /// work. The threads of a concurrent queue are so few that a handful of waiters would take them all.
  case alone

  private static let workers = DispatchQueue(label: "vmpool.api.work", attributes: .concurrent)

  func run(_ work: @escaping @Sendable () -> Void) {
    switch self {
    case .working: Self.workers.async(execute: work)
    case .alone: DispatchQueue(label: "vmpool.api.alone").async(execute: work)
    }
  }
}

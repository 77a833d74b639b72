/// Runs each piece of a task at once, on the thread that makes it runnable.
///
/// A task that prefers this executor begins on the thread that creates it, and runs there up to its first wait. After that
/// it goes on inside the call that ends the wait: on the HTTP thread, a vCPU's thread, the thread of deadlines. So no
/// thread may resume it under a lock. What it does after a wait is as short as the thread that ended the wait demands.
///
/// A cancellation handler must not resume its task: the runtime still holds the task's records then, and a task that ends
/// in there frees them. It has another thread do that.
public final class InlineExecutor: TaskExecutor {
  /// The only one; it has no state.
  public static let shared = InlineExecutor()

  private init() {}

  /// Runs `job` before it returns.
  public func enqueue(_ job: consuming ExecutorJob) {
    // Safe: the executor, which the reference does not keep alive, is a global.
    unsafe job.runSynchronously(on: asUnownedTaskExecutor())
  }
}

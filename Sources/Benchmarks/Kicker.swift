import LinuxSupport
import Synchronization
internal import SystemPackage

/// Kicks a VM's vCPUs and counts what happens. Both sides use this code.
struct Kicker<VM: BenchmarkVM>: Sendable {
  let vm: VM
  /// After how long a kick counts as lost.
  let patienceNS: UInt64

  /// Kicks once. Returns how long the caller waited, or nil when the kick was lost.
  @discardableResult
  func kick(_ vcpu: Int, _ tally: inout Tally) throws(BenchmarkError) -> UInt64? {
    let start = MonotonicClock.now()
    guard let sample = try vm.kick(vcpu, patienceNS: patienceNS) else {
      tally.count("lost")
      return nil
    }
    let call = MonotonicClock.now() - start
    tally.record(.call, call)
    tally.record(.latency, sample.latencyNS)
    if let signal = sample.signalNS, signal <= sample.latencyNS {
      tally.record(.signal, signal)
      tally.record(.exit, sample.latencyNS - signal)
    }
    tally.count("acknowledged")
    if let phase = sample.phase {
      tally.count("\(phase)")
      tally.count("coalesced", sample.isCoalesced ? 1 : 0)
      tally.count("resent", sample.resent)
    }
    return call
  }

  /// Kicks one vCPU after the other, each after a pause, and then all at once. Makes at most `kicks` single kicks, and none
  /// after the deadline but the first of each.
  func kickAtLeisure(_ kicks: Int, pauseNS: UInt64, untilNS deadline: UInt64) throws(BenchmarkError) -> Tally {
    var tally = Tally()
    tally.count("lost", 0)
    var done = 0
    repeat {
      var slowest: UInt64? = 0
      for vcpu in 0..<vm.vcpuCount {
        spin(forNS: pauseNS)
        let call = try kick(vcpu, &tally)
        slowest = call.flatMap { call in slowest.map { max($0, call) } }
      }
      done += vm.vcpuCount
      if vm.vcpuCount > 1 { try broadcast(besideSlowest: slowest, pauseNS: pauseNS, &tally) }
    } while done < kicks && MonotonicClock.now() < deadline
    return tally
  }

  private func broadcast(
    besideSlowest slowest: UInt64?, pauseNS: UInt64, _ tally: inout Tally
  ) throws(BenchmarkError) {
    spin(forNS: pauseNS)
    let start = MonotonicClock.now()
    let isComplete = try vm.kickAll(patienceNS: patienceNS)
    let duration = MonotonicClock.now() - start
    guard isComplete else { return tally.count("broadcasts_lost") }
    guard let slowest else { return }
    tally.record(.broadcast, duration)
    tally.record(.slowestSingle, slowest)
  }

  /// Several threads kick for so long. Each begins with another vCPU, and kicks again as soon as it is answered.
  func storm(threads: Int, forNS duration: UInt64) throws(BenchmarkError) -> (tally: Tally, nsPerKick: UInt64) {
    let results = StormResults()
    var warm = Tally()
    try kick(0, &warm)
    let room = warm
    // The kicks begin when all threads are there. On one processor, the first would else keep the others from being created.
    let start = MonotonicClock.now() + 1_000_000 + 1_000_000 * UInt64(threads)
    let end = start + duration
    try withThreads(threads) { number in
      var tally = room
      tally.clear()
      tally.count("lost", 0)
      MonotonicClock.sleep(untilNS: start)
      do throws(BenchmarkError) {
        var vcpu = number
        repeat {
          try kick(vcpu % vm.vcpuCount, &tally)
          vcpu += 1
        } while MonotonicClock.now() < end
        results.add(tally)
      } catch { results.fail(error) }
    }
    let tally = try results.sum()
    let kicks = UInt64(tally.counts["acknowledged"] ?? 0)
    guard kicks > 0 else { throw .stopped("no kick was acknowledged in \(duration) ns") }
    return (tally, (MonotonicClock.now() - start) / kicks)
  }

  private func withThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws(BenchmarkError) {
    guard count > 0 else { return }
    let thread: JoinableThread
    do throws(Errno) {
      thread = try JoinableThread(stackBytes: 256 << 10, name: "kicker-\(count)") { body(count - 1) }
    } catch { throw .thread(error) }
    // The recursion holds the other threads: values that must be joined cannot stand in an array.
    let outcome = Result { () throws(BenchmarkError) in try withThreads(count - 1, body) }
    thread.join()
    try outcome.get()
  }
}

/// What the threads of a storm found.
private final class StormResults: Sendable {
  /// Guards both; a leaf lock, taken by each thread once, at its end.
  private let state = Mutex<(tally: Tally, error: BenchmarkError?)>((Tally(), nil))

  func add(_ tally: Tally) { state.withLock { $0.tally.add(tally) } }

  func fail(_ error: BenchmarkError) { state.withLock { $0.error = error } }

  /// To be called when all threads have ended.
  func sum() throws(BenchmarkError) -> Tally {
    let (tally, error) = state.withLock { $0 }
    if let error { throw error }
    return tally
  }
}

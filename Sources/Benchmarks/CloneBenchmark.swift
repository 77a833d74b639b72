public import ComparedKicks
import LinuxSupport

/// What it costs to clone a VM from a template and to reset it, beside the bare ioctls that do the same.
///
/// A round makes all of its clones, of one vCPU each, and looks how much private memory they take. Then the guest of the
/// first writes to so many pages, and the clone is reset, several times.
public struct CloneBenchmark: Benchmark {
  /// Each with every case, with both sides one after the other.
  public var rounds: Int
  /// Clones a round and side, which are there at once.
  public var clonesPerRound: Int
  /// Resets a round and side.
  public var resetsPerRound: Int
  /// How both sides' vCPUs are set up to be kicked.
  public var mechanisms: [ComparedMechanism]
  /// How much memory a VM has, in MiB: up to 1024, which is what its guest can reach.
  public var memoryMiB: [Int]
  /// How many pages the guest writes; a size of memory in which they do not fit has no such case.
  public var dirtyPages: [Int]

  package static let name = "clone"

  /// Everything by default as `vmpool bench clone` does it.
  public init(
    rounds: Int = 10, clonesPerRound: Int = 10, resetsPerRound: Int = 5,
    mechanisms: [ComparedMechanism] = [.immediateExit], memoryMiB: [Int] = [128],
    dirtyPages: [Int] = [1, 64, 1000, 10_000]
  ) {
    self.rounds = rounds
    self.clonesPerRound = clonesPerRound
    self.resetsPerRound = resetsPerRound
    self.mechanisms = mechanisms
    self.memoryMiB = memoryMiB
    self.dirtyPages = dirtyPages
  }

  package var subjects: [BenchmarkCase.Subject] {
    mechanisms.flatMap { mechanism in
      memoryMiB.flatMap { memory in
        // The first MiB is the guest's own.
        dirtyPages.filter { $0 <= (memory - 1) << 8 }.map { pages in
          BenchmarkCase.Subject(
            mechanism: mechanism.rawValue, guest: "touch", kickers: 0, vcpus: 1, memoryMiB: memory, dirtyPages: pages)
        }
      }
    }
  }

  package var settings: [String: Int] { ["clones_per_round": clonesPerRound, "resets_per_round": resetsPerRound] }

  package func round(
    _ subject: BenchmarkCase.Subject, _ bed: TestBed, bareFirst: Bool
  ) throws(BenchmarkError) -> (bare: Tally, vmpool: Tally) {
    let templates = try bed.templates(subject)
    let pages = subject.dirtyPages ?? 0
    func bare() throws(BenchmarkError) -> Tally {
      try measure(pages) { () throws(BenchmarkError) in try templates.bareClone() }
    }
    func ours() throws(BenchmarkError) -> Tally {
      try measure(pages) { () throws(BenchmarkError) in try templates.clone() }
    }
    return try bothSides(bareFirst: bareFirst, bare: bare, vmpool: ours)
  }

  private func measure<Clone: BenchmarkClone>(
    _ pages: Int, _ clone: () throws(BenchmarkError) -> Clone
  ) throws(BenchmarkError) -> Tally {
    var tally = Tally()
    var clones: [Clone] = []
    clones.reserveCapacity(clonesPerRound)
    defer { for clone in clones { clone.destroy() } }
    let before = privateMemoryKiB()
    let began = MonotonicClock.now()
    while clones.count < clonesPerRound {
      let start = MonotonicClock.now()
      clones.append(try clone())
      tally.record(.clone, MonotonicClock.now() - start)
    }
    tally.record(.cloneAll, MonotonicClock.now() - began)
    tally.count("private_kib", max(0, privateMemoryKiB() - before))
    tally.count("clones", clones.count)
    for _ in 0..<resetsPerRound { try reset(clones[0], pages, &tally) }
    while let clone = clones.popLast() {
      let start = MonotonicClock.now()
      clone.destroy()
      tally.record(.destroy, MonotonicClock.now() - start)
    }
    return tally
  }

  private func reset(_ clone: some BenchmarkClone, _ pages: Int, _ tally: inout Tally) throws(BenchmarkError) {
    try clone.run()
    let start = MonotonicClock.now()
    let copied = try clone.reset()
    tally.record(.reset, MonotonicClock.now() - start)
    guard copied >= pages else { throw .clone("a reset put \(copied) of \(pages) pages back") }
    tally.count("pages", copied)
  }
}

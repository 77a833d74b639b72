import CKVM
import LinuxSupport
import Synchronization
import SystemPackage

/// Calls closures when vCPUs have answered requests: one thread for the whole process, however many closures wait.
///
/// These are steps N1 to N3 of the kick protocol. A wait stands under one vCPU at a time: the first of its own that has
/// not answered. When that one has, the wait moves on to the next.
final class AnswerNotifier: Sendable {
  static let shared = AnswerNotifier()

  /// A request that is waited for.
  struct Target: Sendable {
    let vcpu: VCPU
    let generation: UInt64
  }

  /// Guards the waits. Taken by those who register and by the notifier's thread, never by a vCPU's. A leaf lock: no
  /// closure is called and no vCPU is let go of under it, and only atomics of vCPUs are touched.
  private let waits = Mutex(Waits())

  private init() {}

  /// Starts the thread, unless it is there.
  func start() throws(Errno) {
    try waits.withLock { (waits) throws(Errno) in
      guard !waits.hasThread else { return }
      // It lives as long as the process, so it is never joined.
      _ = try JoinableThread(stackBytes: 256 << 10, name: "answers", role: .requests) { [self] in run() }
      waits.hasThread = true
    }
  }

  /// Step N1: has `body` called when all `targets` have been answered. Returns the wait's number, or nil, without having
  /// called `body`, when they have been answered already.
  ///
  /// Where `resends` is false, no signal is sent again: a sound mechanism needs no second one.
  func register(_ targets: [Target], resends: Bool = true, _ body: @escaping @Sendable () -> Void) -> UInt64? {
    let (number, mustWake) = waits.withLock { waits in
      let number = waits.add(targets, resends: resends, body)
      let mustWake = number != nil && waits.isAsleepForGood
      if mustWake { waits.isAsleepForGood = false }
      return (number, mustWake)
    }
    if mustWake { Self.wake() }
    return number
  }

  /// Sends the signal again, and again, until the request has been answered: for a kicker whose signal was refused, with
  /// whom others may have coalesced.
  func oweSignal(to vcpu: VCPU, for ticket: KickTicket) {
    let number = register([Target(vcpu: vcpu, generation: ticket.generation)]) {}
    // It may sleep for longer than the signal ought to wait.
    if number != nil { Self.wake() }
  }

  /// Takes a wait away. Returns false when its closure was called, or is about to be.
  func cancel(_ number: UInt64) -> Bool {
    // What the wait held is released after the lock.
    let removed = waits.withLock { $0.remove(number) }
    return removed != nil
  }

  /// Says that a vCPU has answered: by the vCPU's thread, after it has published the generation. Costs a read-modify-write
  /// and a futex call.
  static func wake() {
    ckvm_news_add()
    // Safe: the word is a global.
    unsafe Futex.wakeAll(ckvm_news_futex())
  }

  /// Steps N2 and N3: what the thread does.
  private func run() {
    while true {
      // Before the scan: news that come during it end the sleep.
      let seen = ckvm_news_load()
      let (answered, unanswered, untilNS) = waits.withLock { $0.scan(at: MonotonicClock.now()) }
      for wait in answered { wait.body() }
      for vcpu in unanswered { vcpu.deliverAgain() }
      let now = MonotonicClock.now()
      guard untilNS > now else { continue }
      // Safe: the word is a global.
      _ = unsafe Futex.wait(on: ckvm_news_futex(), while: seen, timeoutNS: untilNS == .max ? nil : untilNS - now)
    }
  }
}

/// The waits, as values: no locks, no threads.
private struct Waits {
  struct Wait {
    let targets: [AnswerNotifier.Target]
    let resends: Bool
    /// The target that it stands under; those before have been answered.
    var position = 0
    let body: @Sendable () -> Void

    var target: AnswerNotifier.Target { targets[position] }
  }

  /// A wait's place among those of a vCPU.
  struct Place: Comparable {
    let generation: UInt64
    let number: UInt64

    static func < (left: Place, right: Place) -> Bool {
      (left.generation, left.number) < (right.generation, right.number)
    }
  }

  /// The waits that stand under one vCPU. Each of them holds that vCPU, so the queue's end frees nothing.
  struct Queue {
    let vcpu: VCPU
    /// In rising order.
    var places: [Place] = []
    /// When the signal is sent again, and how long after that the next time.
    var resendAtNS: UInt64
    var resendIntervalNS = Waits.firstResendNS
  }

  var hasThread = false
  /// The thread sleeps without a limit, and must be woken to learn that there is a wait.
  var isAsleepForGood = false
  private var last: UInt64 = 0
  private var all: [UInt64: Wait] = [:]
  private var queues: [ObjectIdentifier: Queue] = [:]
  private var emptySinceNS: UInt64?

  static let firstResendNS: UInt64 = 10_000_000
  private static let lastResendNS: UInt64 = 1_000_000_000
  /// Kicks come in bursts, and waking the thread for each would cost more than the kick.
  private static let graceNS: UInt64 = 1_000_000_000

  mutating func add(
    _ targets: [AnswerNotifier.Target], resends: Bool, _ body: @escaping @Sendable () -> Void
  ) -> UInt64? {
    last += 1
    let wait = Wait(targets: targets, resends: resends, body: body)
    return place(wait, number: last) == nil ? last : nil
  }

  mutating func remove(_ number: UInt64) -> Wait? {
    guard let wait = all.removeValue(forKey: number) else { return nil }
    leave(ObjectIdentifier(wait.target.vcpu), Place(generation: wait.target.generation, number: number))
    return wait
  }

  /// Puts a wait under the first of its vCPUs that has not answered. Returns it when all have.
  private mutating func place(_ wait: Wait, number: UInt64) -> Wait? {
    var wait = wait
    while wait.position < wait.targets.count {
      let target = wait.target
      // The mark before the look, in one step: an answer that comes later finds the mark.
      if target.vcpu.control.mark(ServedWord.noticeBit).generation < target.generation {
        enter(target, number, resends: wait.resends)
        all[number] = wait
        return nil
      }
      wait.position += 1
    }
    return wait
  }

  private mutating func enter(_ target: AnswerNotifier.Target, _ number: UInt64, resends: Bool) {
    let key = ObjectIdentifier(target.vcpu)
    let place = Place(generation: target.generation, number: number)
    let resendAtNS = resends ? MonotonicClock.now() + Self.firstResendNS : .max
    var queue = queues.removeValue(forKey: key) ?? Queue(vcpu: target.vcpu, resendAtNS: resendAtNS)
    queue.places.insert(place, at: Self.index(of: place, in: queue.places))
    queues[key] = queue
  }

  private mutating func leave(_ key: ObjectIdentifier, _ place: Place) {
    guard var queue = queues.removeValue(forKey: key) else { return }
    queue.places.remove(at: Self.index(of: place, in: queue.places))
    if !queue.places.isEmpty { queues[key] = queue }
  }

  /// The number of places before `place`.
  private static func index(of place: Place, in places: [Place]) -> Int {
    // Generations rise, so nearly every place is a new last one.
    guard let last = places.last, last >= place else { return places.count }
    var (low, high) = (0, places.count)
    while low < high {
      let middle = (low + high) / 2
      if places[middle] < place { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Step N2: takes out the waits that have been answered, and marks the vCPUs that others wait for. Returns which of these
  /// the notifier signals again, and how long it may sleep.
  mutating func scan(at now: UInt64) -> (answered: [Wait], unanswered: [VCPU], untilNS: UInt64) {
    var answered: [Wait] = []
    for key in Array(queues.keys) {
      var places = takeAnswered(key)
      while !places.isEmpty {
        for place in places {
          guard let wait = all.removeValue(forKey: place.number) else { continue }
          if let done = self.place(wait, number: place.number) { answered.append(done) }
        }
        places = takeAnswered(key)
      }
    }
    let unanswered = resend(at: now)
    return (answered, unanswered, limit(at: now))
  }

  /// Takes the places out of a vCPU's queue that have been answered. Marks the vCPU if any are left.
  private mutating func takeAnswered(_ key: ObjectIdentifier) -> [Place] {
    guard let vcpu = queues[key]?.vcpu, let first = queues[key]?.places.first else { return [] }
    let word = vcpu.control.served
    if word.wantsNotice, word.generation < first.generation { return [] }
    let served = vcpu.control.mark(ServedWord.noticeBit).generation
    guard var queue = queues.removeValue(forKey: key) else { return [] }
    let answered = Array(queue.places.prefix { $0.generation <= served })
    queue.places.removeFirst(answered.count)
    if !queue.places.isEmpty { queues[key] = queue }
    return answered
  }

  private mutating func resend(at now: UInt64) -> [VCPU] {
    var due: [VCPU] = []
    for (key, queue) in queues where queue.resendAtNS <= now {
      due.append(queue.vcpu)
      let interval = min(2 * queue.resendIntervalNS, Self.lastResendNS)
      queues[key]?.resendIntervalNS = interval
      queues[key]?.resendAtNS = now + interval
    }
    return due
  }

  private mutating func limit(at now: UInt64) -> UInt64 {
    guard queues.isEmpty else {
      emptySinceNS = nil
      return queues.values.reduce(UInt64.max) { min($0, $1.resendAtNS) }
    }
    let since = emptySinceNS ?? now
    emptySinceNS = since
    isAsleepForGood = now >= since + Self.graceNS
    return isAsleepForGood ? .max : since + Self.graceNS
  }
}

/// A closure that is called once, when requests have been answered. Letting go of it cancels it.
public final class AnswerNotice: Sendable {
  private let number: UInt64?

  /// Has `body` called when each vCPU has answered its ticket's request. A vCPU that ends answers all its requests.
  ///
  /// `body` runs on a thread that all notices of the process share, and must be short. If everything has been answered
  /// already, this initialiser calls it before it returns. It is called under no lock.
  public convenience init(
    whenAnswered requests: [(vcpu: VCPU, ticket: KickTicket)], _ body: @escaping @Sendable () -> Void
  ) {
    self.init(whenAnswered: requests, resends: true, body)
  }

  init(
    whenAnswered requests: [(vcpu: VCPU, ticket: KickTicket)], resends: Bool, _ body: @escaping @Sendable () -> Void
  ) {
    let targets = requests.map { AnswerNotifier.Target(vcpu: $0.vcpu, generation: $0.ticket.generation) }
    number = AnswerNotifier.shared.register(targets, resends: resends, body)
    if number == nil { body() }
  }

  deinit { cancel() }

  /// Gives the closure up. Returns false when it has been called, or is about to be. Any thread.
  @discardableResult public func cancel() -> Bool { number.map(AnswerNotifier.shared.cancel) ?? false }
}

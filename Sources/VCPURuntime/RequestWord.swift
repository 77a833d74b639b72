/// What a vCPU has been asked to be. From `stop` it goes back to `ready` alone, for another run; from `end` it never goes back.
public enum VCPUGoal: UInt64, Sendable, Comparable {
  /// Not started.
  case ready = 0
  /// In the guest.
  case run = 1
  /// Parked, with its registers complete.
  case pause = 2
  /// Parked for good.
  case stop = 3
  /// Its thread ended.
  case end = 4

  /// In the order of the declaration.
  public static func < (left: VCPUGoal, right: VCPUGoal) -> Bool { left.rawValue < right.rawValue }
}

/// The word that kickers and a vCPU's thread share, changed by atomic read-modify-write only.
///
/// Why one word: the kicker publishes a request, then looks whether a signal is on its way. The thread takes that mark away,
/// then reads the requests. So each side stores and then loads. Acquire and release do not order those; two
/// read-modify-writes of one word do.
///
///     63 … 16      15 … 8    7     6 … 4   3 2   1        0
///     generation   reasons   run   goal    0     parked   outstanding
///
/// The low half is the futex word on which a parked vCPU sleeps: every request changes it.
struct RequestWord: Equatable, Sendable {
  var bits: UInt64

  /// Why a vCPU is asked to look. More than one may be set.
  struct Reasons: OptionSet, Sendable {
    let rawValue: UInt64
    /// A kicker wants the vCPU out of KVM_RUN.
    static let kick = Reasons(rawValue: 1)
    /// The goal was set.
    static let goal = Reasons(rawValue: 2)
    /// A device has something for the guest.
    static let input = Reasons(rawValue: 4)
    /// Work waits for the thread.
    static let errand = Reasons(rawValue: 8)
  }

  /// A signal has been sent that no thread has answered yet.
  static let outstandingBit: UInt64 = 1
  /// The thread sleeps on the word, or is about to.
  static let parkedBit: UInt64 = 2
  /// Whether the run's number is odd. A reset changes it, and is refused until the thread has served the stop of the run
  /// before: so a thread never misses two changes.
  static let runBit: UInt64 = 0x80
  /// What the thread takes away when it serves.
  static let takenBits: UInt64 = outstandingBit | parkedBit | 0xFF00

  /// A vCPU without a request so far: parked, so that no kicker sends a signal before its thread is there.
  static let initial = RequestWord(bits: parkedBit)

  var isOutstanding: Bool { bits & Self.outstandingBit != 0 }
  var isParked: Bool { bits & Self.parkedBit != 0 }
  var reasons: Reasons { Reasons(rawValue: bits >> 8 & 0xFF) }
  var isPending: Bool { bits & 0xFF00 != 0 }
  var isInOddRun: Bool { bits & Self.runBit != 0 }
  var goal: VCPUGoal { VCPUGoal(rawValue: bits >> 4 & 7) ?? .end }
  var generation: UInt64 { bits >> 16 }
  var futexValue: UInt32 { UInt32(truncatingIfNeeded: bits) }

  /// What a kicker has to do after it has published a request.
  enum Delivery: Sendable, Equatable {
    /// Send the signal.
    case signal
    /// Wake the sleeper.
    case wake
    /// Nothing: a signal or a wake-up is on its way already.
    case shared
  }

  /// The word after one more request, and how to deliver it; nil when the vCPU has ended.
  func requesting(_ reasons: Reasons, goal newGoal: VCPUGoal?) -> (word: RequestWord, delivery: Delivery)? {
    guard goal != .end else { return nil }
    var next = (generation &+ 1) << 16 | (self.reasons.union(reasons).rawValue << 8) | (bits & 0xFF)
    let isReset = goal == .stop && newGoal == .ready
    if isReset { next ^= Self.runBit }
    if let newGoal, newGoal > goal || goal < .stop || isReset {
      next = next & ~0x70 | newGoal.rawValue << 4
    }
    if isParked { return (RequestWord(bits: next), isPending ? .shared : .wake) }
    return (RequestWord(bits: next | Self.outstandingBit), isOutstanding ? .shared : .signal)
  }
}

/// What a vCPU's thread has served, and who wants to know: changed by atomic read-modify-write only.
///
///     63 … 2       1        0
///     generation   notice   sleeper
///
/// The low half is the futex word on which those sleep who wait for an answer.
struct ServedWord: Equatable, Sendable {
  var bits: UInt64

  /// A thread sleeps on the word, or is about to.
  static let sleeperBit: UInt64 = 1
  /// The notifier wants to be woken.
  static let noticeBit: UInt64 = 2

  init(bits: UInt64) { self.bits = bits }

  /// The word that says that all up to `generation` has been served.
  init(generation: UInt64) { bits = generation << 2 }

  var generation: UInt64 { bits >> 2 }
  var wantsWake: Bool { bits & Self.sleeperBit != 0 }
  var wantsNotice: Bool { bits & Self.noticeBit != 0 }
}

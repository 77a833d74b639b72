import Synchronization

/// Both directions of one VM's console: what the guest wrote, of which the newest bytes are kept, and what waits for
/// the guest to read.
///
/// Output bytes are named by their absolute offset: the guest's first byte is 0, and a byte keeps its offset after
/// older ones were dropped. Every method may be called on any thread, and none waits for anything but another call of
/// these methods, which copy bytes and no more. After `offer` the caller wakes the vCPU; the console does not know it.
public final class Console: Sendable {
  /// Bytes that a VM's console keeps in each direction.
  public static let defaultCapacity = 64 << 10
  /// The most bytes that a VM's console takes.
  public static let mostBytes = 2 * defaultCapacity

  /// What both directions hold.
  public struct State: DeviceState {
    /// The first version.
    public static let version = 1
    /// Byte `n` stands at `n % outputCapacity`; so it is simply in order until the capacity is used up.
    var output: [UInt8] = []
    var written: UInt64 = 0
    /// Empty until the first offer, then of `inputCapacity`.
    var input: [UInt8] = []
    var inputHead = 0
    var inputCount = 0

    /// Nothing was written, and nothing waits.
    public init() {}
  }

  /// Guards all of both directions: vCPU threads write, API threads read. Innermost: nothing else is locked, and
  /// nothing waited for, while it is held.
  private let state = Mutex(State())
  private let outputCapacity: Int
  private let inputCapacity: Int

  /// A console that keeps the last `outputCapacity` bytes of output and queues up to `inputCapacity` bytes of input,
  /// both at least 1. It allocates when first used: output in doubling steps up to the capacity, input at once.
  public init(outputCapacity: Int = defaultCapacity, inputCapacity: Int = defaultCapacity) {
    precondition(outputCapacity > 0 && inputCapacity > 0, "a console's capacities are at least 1 byte")
    self.outputCapacity = outputCapacity
    self.inputCapacity = inputCapacity
  }

  /// Appends a byte of output, dropping the oldest when the ring is full.
  public func append(_ byte: UInt8) {
    state.withLock { state in
      if state.output.count < outputCapacity {
        if state.output.count == state.output.capacity {
          state.output.reserveCapacity(min(max(256, 2 * state.output.count), outputCapacity))
        }
        state.output.append(byte)
      } else {
        state.output[Int(state.written % UInt64(outputCapacity))] = byte
      }
      state.written += 1
    }
  }

  /// Appends bytes of output, dropping the oldest when the ring is full.
  public func append(_ bytes: [UInt8]) {
    state.withLock { state in
      let added = bytes.prefix(outputCapacity - state.output.count)
      state.output += added
      state.written += UInt64(added.count)
      let others = bytes.dropFirst(added.count)
      // Those that this very call would overwrite are not worth the copying.
      let kept = others.suffix(outputCapacity)
      state.written += UInt64(others.count - kept.count)
      for byte in kept {
        state.output[Int(state.written % UInt64(outputCapacity))] = byte
        state.written += 1
      }
    }
  }

  /// Up to `limit` bytes of output from `offset` on.
  ///
  /// - Returns: the bytes; `start`, the offset of the first, later than asked when older bytes were dropped; `next`,
  ///   the offset to ask for next. An offset past the end counts as the end, so `start` is then earlier than asked.
  public func read(from offset: UInt64, limit: Int) -> (bytes: [UInt8], start: UInt64, next: UInt64) {
    state.withLock { state in
      let oldest = state.written - UInt64(state.output.count)
      let start = min(max(offset, oldest), state.written)
      let count = min(Int(state.written - start), max(limit, 0))
      let first = Int(start % UInt64(outputCapacity))
      let unwrapped = min(count, outputCapacity - first)
      var bytes: [UInt8] = []
      bytes.reserveCapacity(count)
      bytes += state.output[first..<first + unwrapped]
      bytes += state.output[..<(count - unwrapped)]
      return (bytes, start, start + UInt64(count))
    }
  }

  /// How many bytes of output there have ever been: the offset of the byte to come.
  public var written: UInt64 { state.withLock { $0.written } }

  /// Queues input for the guest.
  ///
  /// - Returns: how many bytes were taken, from the front; the rest did not fit and is the caller's to offer again.
  public func offer(_ bytes: [UInt8]) -> Int {
    state.withLock { state in
      let taken = min(bytes.count, inputCapacity - state.inputCount)
      if taken > 0 && state.input.isEmpty { state.input = [UInt8](repeating: 0, count: inputCapacity) }
      for byte in bytes.prefix(taken) {
        state.input[(state.inputHead + state.inputCount) % inputCapacity] = byte
        state.inputCount += 1
      }
      return taken
    }
  }

  /// Takes the oldest byte of input; nil when there is none.
  public func takeInput() -> UInt8? {
    state.withLock { state in
      guard state.inputCount > 0 else { return nil }
      let byte = state.input[state.inputHead]
      state.inputHead = (state.inputHead + 1) % inputCapacity
      state.inputCount -= 1
      return byte
    }
  }

  /// Returns both directions. For a VM whose vCPUs are parked.
  public func save() -> State { state.withLock { $0 } }

  /// Takes both directions over. For a VM whose vCPUs are parked.
  public func restore(_ saved: State) throws(DeviceStateError) {
    guard saved.output.count == Int(min(saved.written, UInt64(outputCapacity))) else {
      throw .impossible(member: "output")
    }
    guard saved.input.isEmpty || saved.input.count == inputCapacity, saved.inputCount >= 0,
      saved.inputCount <= saved.input.count, saved.inputHead >= 0, saved.inputHead < inputCapacity
    else { throw .impossible(member: "input") }
    state.withLock { $0 = saved }
  }

  /// Forgets both directions.
  public func reset() { state.withLock { $0 = State() } }

  /// Whether input waits for the guest.
  public var hasInput: Bool { state.withLock { $0.inputCount > 0 } }
}

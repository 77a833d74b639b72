import CBareKVM

/// Keeps the calling thread on one processor and the vCPUs it creates on others. So neither side of a comparison is lucky
/// with the scheduler. Gives the calling thread back its freedom in the end. Where the thread may use one
/// processor only, or the kernel does not say, it does nothing.
struct ProcessorPlacement: ~Copyable {
  private let before: [Int32]
  private let vcpus: ArraySlice<Int32>

  /// For so many vCPUs: each has a processor of its own if there are enough.
  init(vcpus count: Int) {
    before = Self.usable
    vcpus = before.dropFirst().prefix(count)
    use(before.prefix(1))
  }

  deinit { use(before[...]) }

  /// Whether it does anything.
  static var isPossible: Bool { usable.count > 1 }

  /// Does something that creates vCPUs: their threads inherit the processors that the calling thread has meanwhile.
  borrowing func creatingVCPUs<Result: ~Copyable>(
    _ create: () throws(BenchmarkError) -> Result
  ) throws(BenchmarkError) -> Result {
    use(vcpus)
    defer { use(before.prefix(1)) }
    return try create()
  }

  /// Does something that creates kickers: they may use every processor that is not a vCPU's.
  borrowing func creatingKickers<Result>(
    _ create: () throws(BenchmarkError) -> Result
  ) throws(BenchmarkError) -> Result {
    use(before.prefix(1) + before.dropFirst(1 + vcpus.count))
    defer { use(before.prefix(1)) }
    return try create()
  }

  /// Does something that creates threads that may use every processor.
  borrowing func creatingAnywhere<Result>(
    _ create: () throws(BenchmarkError) -> Result
  ) throws(BenchmarkError) -> Result {
    use(before[...])
    defer { use(before.prefix(1)) }
    return try create()
  }

  static var usable: [Int32] {
    var numbers = [Int32](repeating: 0, count: 1024)
    // Safe: the shim writes at most as many as there is room for.
    let count = unsafe barekvm_processors(&numbers, Int32(numbers.count))
    return Array(numbers.prefix(max(0, Int(count))))
  }

  private borrowing func use(_ processors: ArraySlice<Int32>) {
    guard before.count > 1 else { return }
    // Safe: the array lives for the call. A processor that was taken offline meanwhile is no reason to fail.
    _ = unsafe barekvm_use_processors(Array(processors), Int32(processors.count))
  }
}

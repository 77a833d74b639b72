import CBareKVM

/// Keeps the calling thread on one processor, and the vCPUs that it creates on others. So the scheduler favours neither side
/// of a comparison. At its end it gives the calling thread all its processors back. It does nothing where the thread may
/// use one processor only, or where the kernel does not say which.
struct ProcessorPlacement: ~Copyable {
  private let before: [Int32]
  private let vcpus: ArraySlice<Int32>

  /// A placement for so many vCPUs. Each has a processor of its own if there are enough.
  init(vcpus count: Int) {
    before = Self.usable
    vcpus = before.dropFirst().prefix(count)
    use(before.prefix(1))
  }

  deinit { use(before[...]) }

  /// Whether there are processors to choose from.
  static var isPossible: Bool { usable.count > 1 }

  /// Runs a closure that creates vCPUs. Their threads inherit the processors that the calling thread has meanwhile.
  borrowing func creatingVCPUs<Result: ~Copyable>(
    _ create: () throws(BenchmarkError) -> Result
  ) throws(BenchmarkError) -> Result {
    use(vcpus)
    defer { use(before.prefix(1)) }
    return try create()
  }

  /// Runs a closure that creates kickers. They may use every processor that is not a vCPU's.
  borrowing func creatingKickers<Result>(
    _ create: () throws(BenchmarkError) -> Result
  ) throws(BenchmarkError) -> Result {
    use(before.prefix(1) + before.dropFirst(1 + vcpus.count))
    defer { use(before.prefix(1)) }
    return try create()
  }

  /// Runs a closure that creates threads. They may use every processor.
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

/// What a pool's declaration may say: the one place that knows, for the server, its configuration file and its clients.
/// Whether the image exists and fits into the memory is for the server to say.
public enum PoolRules {
  /// vCPUs a VM.
  public static let vcpus = 1...64
  /// Guest memory a VM, in MiB.
  public static let memoryMiB = 1...65_536
  /// VMs that a pool keeps ready.
  public static let ready = 0...1000
  /// The most VMs that a pool may have.
  public static let maxVMs = 1...100_000
  /// How long a VM may run, in ms.
  public static let deadlineMS = 1...86_400_000
  /// VMs made for the pool at the same time.
  public static let refillConcurrency = 1...64
  /// How often a VM is probed, in ms.
  public static let probeIntervalMS = 10...3_600_000
  /// Bytes of the text that a guest prints when it is ready.
  public static let consoleBytes = 1...256
  /// How long after its start a guest is ready, in ms.
  public static let afterMS = 1...600_000
  /// How long a guest may take to print the text of its ready point, in ms.
  public static let readyTimeoutMS = 1...600_000
  /// The same where a declaration says nothing.
  public static let standardReadyTimeoutMS = 60_000
  /// What a name is made of, in words.
  public static let nameRule = "a lower-case letter, then up to 62 lower-case letters, digits and hyphens"

  /// Words as a sentence lists them: `a, b or c`.
  static func list(_ words: [String]) -> String {
    words.dropLast().joined(separator: ", ") + (words.count > 1 ? " or " : "") + (words.last ?? "")
  }

  /// Whether a pool or an image may be called so.
  public static func isName(_ text: String) -> Bool {
    let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard let first = text.utf8.first, letters.contains(first), text.utf8.count <= 63 else { return false }
    return text.utf8.allSatisfy { letters.contains($0) || digits.contains($0) || $0 == UInt8(ascii: "-") }
  }
}

extension DeclarePoolDocument {
  /// All that is wrong with the declaration, in the order of its members; empty where nothing is.
  public var mistakes: [DocumentMistake] {
    var mistakes: [DocumentMistake] = []
    func check(_ number: Int?, in range: ClosedRange<Int>, at pointer: String) {
      guard let number, !range.contains(number) else { return }
      let name = pointer.split(separator: "/").joined(separator: ".")
      mistakes.append(
        DocumentMistake(
          pointer: pointer,
          description: "\(name) is \(number); give \(range.lowerBound) to \(range.upperBound)."))
    }
    if !PoolRules.isName(image) {
      mistakes.append(
        DocumentMistake(pointer: "/image", description: "image is no name: a name is \(PoolRules.nameRule)."))
    }
    check(vcpus, in: PoolRules.vcpus, at: "/vcpus")
    check(memoryMiB, in: PoolRules.memoryMiB, at: "/memory_mib")
    // One number is both.
    check(ready.min, in: PoolRules.ready, at: ready.min == ready.max ? "/ready" : "/ready/min")
    if ready.min != ready.max { check(ready.max, in: PoolRules.ready, at: "/ready/max") }
    if ready.min > ready.max {
      mistakes.append(
        DocumentMistake(
          pointer: "/ready", description: "ready.min is \(ready.min), above ready.max, which is \(ready.max)."))
    }
    check(maxVMs, in: PoolRules.maxVMs, at: "/max_vms")
    if let maxVMs, PoolRules.maxVMs.contains(maxVMs), maxVMs < ready.max {
      mistakes.append(
        DocumentMistake(
          pointer: "/max_vms", description: "max_vms is \(maxVMs), below ready.max, which is \(ready.max)."))
    }
    check(deadlineMS, in: PoolRules.deadlineMS, at: "/deadline_ms")
    check(refill?.concurrency, in: PoolRules.refillConcurrency, at: "/refill/concurrency")
    check(probeIntervalMS, in: PoolRules.probeIntervalMS, at: "/probe_interval_ms")
    switch readyWhen {
    case .console(let text):
      let (count, range) = (text.utf8.count, PoolRules.consoleBytes)
      guard !range.contains(count) else { break }
      mistakes.append(
        DocumentMistake(
          pointer: "/ready_when/console",
          description: "ready_when.console has \(count) bytes; give \(range.lowerBound) to \(range.upperBound)."))
    case .afterMS(let time): check(time, in: PoolRules.afterMS, at: "/ready_when/after_ms")
    case .loaded, .started, nil: break
    }
    check(readyTimeoutMS, in: PoolRules.readyTimeoutMS, at: "/ready_timeout_ms")
    if onRelease == .reset, !hasTemplate {
      mistakes.append(
        DocumentMistake(
          pointer: "/on_release",
          description:
            "on_release is reset, which needs a template to go back to, and ready_when is loaded: give ready_when "
            + "another value, or make on_release replace."))
    }
    return mistakes
  }

  /// Whether its VMs are clones of a template.
  private var hasTemplate: Bool { readyWhen ?? .loaded != .loaded }

  /// What becomes of a VM whose lease has ended, also where the declaration does not say it.
  public var effectiveOnRelease: OnRelease { onRelease ?? (hasTemplate ? .reset : .replace) }

  /// Throws the first of its mistakes.
  public func check() throws(DocumentMistake) {
    if let mistake = mistakes.first { throw mistake }
  }
}

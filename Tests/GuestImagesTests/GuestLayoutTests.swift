import Processor
import TestSupport
import Testing

@testable import GuestImages

private let mib: UInt64 = 1 << 20

private func flat(
  _ mode: FlatMode, at loadAddress: UInt64 = 0x10000, entry: UInt64? = nil, count: Int = 16
) -> GuestImage {
  .flat(FlatImage(mode: mode, loadAddress: loadAddress, entry: entry, code: [UInt8](repeating: 0x90, count: count)))
}

private func builtin(_ name: String) -> GuestImage {
  .builtin(BuiltinGuest.all.first { $0.name == name } ?? BuiltinGuest.all[0])
}

struct GuestLayoutTests {
  struct Start: Sendable, CustomTestStringConvertible {
    var image: GuestImage
    var vcpu = 0
    var expected: CPUStart
    var testDescription: String { "\(image.name) \(expected.mode) ring \(expected.ring) vCPU \(vcpu)" }
  }

  static let starts = [
    Start(image: builtin("spin"), expected: long(ring: 3, stack: 0x9000, argument: 0)),
    Start(image: builtin("spin"), vcpu: 7, expected: long(ring: 3, stack: 0x10000, argument: 7)),
    Start(image: builtin("halt"), vcpu: 1, expected: long(ring: 0, stack: 0xA000, argument: 1)),
    Start(image: flat(.long64, entry: 0x1000F), expected: long(ring: 0, entry: 0x1000F, stack: 0x9000, argument: 0)),
    Start(image: flat(.long64Ring3), vcpu: 2, expected: long(ring: 3, stack: 0xB000, argument: 2)),
    Start(
      image: flat(.prot32, at: 0, entry: 3), vcpu: 7,
      expected: CPUStart(
        mode: .prot32, ring: 0, entry: 3, codeSegmentBase: 0, stackPointer: 0x10000, pageTableRoot: 0,
        firstArgument: 7, ioPrivilegeLevel: 0)),
    Start(image: flat(.real16, at: 0x7C00, entry: 0x7C05), vcpu: 1, expected: real(5, 0x7C00, stack: 0xA000, 1)),
    Start(image: flat(.real16, at: 0xFFFF0), vcpu: 7, expected: real(0, 0xFFFF0, stack: 0, 7)),
    Start(image: flat(.real16, at: 0, entry: 0xFFFF, count: 0x10000), expected: real(0xFFFF, 0, stack: 0x9000, 0)),
  ]

  private static func long(ring: Int, entry: UInt64 = 0x10000, stack: UInt64, argument: UInt64) -> CPUStart {
    CPUStart(
      mode: .long64, ring: ring, entry: entry, codeSegmentBase: 0, stackPointer: stack, pageTableRoot: 0x1000,
      firstArgument: argument, ioPrivilegeLevel: ring)
  }

  private static func real(_ entry: UInt64, _ base: UInt64, stack: UInt64, _ argument: UInt64) -> CPUStart {
    CPUStart(
      mode: .real16, ring: 0, entry: entry, codeSegmentBase: base, stackPointer: stack, pageTableRoot: 0,
      firstArgument: argument, ioPrivilegeLevel: 0)
  }

  @Test(arguments: starts)
  func startState(row: Start) throws {
    let layout = try row.image.layout(memoryBytes: mib, vcpus: row.vcpu + 1)
    #expect(layout.starts[row.vcpu] == row.expected)
  }

  struct Refusal: Sendable, CustomTestStringConvertible {
    var image: GuestImage
    var memory = mib
    var vcpus = 1
    var error: GuestLayoutError
    var testDescription: String { error.description }
  }

  static let refusals = [
    Refusal(image: flat(.long64, count: 0), error: .emptyCode),
    Refusal(
      image: builtin("spin"), memory: mib - 1,
      error: .memoryTooSmall(memoryBytes: mib - 1, needed: MinimumMemory(kernelBytes: mib))),
    Refusal(
      image: flat(.real16), memory: 0, error: .memoryTooSmall(memoryBytes: 0, needed: MinimumMemory(kernelBytes: mib))),
    Refusal(image: builtin("spin"), vcpus: 9, error: .vcpuCount(9, limit: 8)),
    Refusal(image: builtin("hello"), vcpus: 2, error: .vcpuCount(2, limit: 1)),
    Refusal(image: flat(.prot32), vcpus: 0, error: .vcpuCount(0, limit: 8)),
    Refusal(image: flat(.prot32), vcpus: .min, error: .vcpuCount(.min, limit: 8)),
    Refusal(image: flat(.prot32), vcpus: .max, error: .vcpuCount(.max, limit: 8)),
    Refusal(image: flat(.long64, at: 0xFFFF), error: .loadAddressReserved(0xFFFF)),
    Refusal(image: flat(.long64Ring3, at: 0), error: .loadAddressReserved(0)),
    Refusal(image: flat(.real16, at: 0x7C08), error: .loadAddressUnaligned(0x7C08)),
    Refusal(
      image: flat(.long64, at: mib - 15),
      error: .codeBeyondMemory(loadAddress: mib - 15, codeBytes: 16, memoryBytes: mib)),
    Refusal(
      image: flat(.prot32, at: .max), error: .codeBeyondMemory(loadAddress: .max, codeBytes: 16, memoryBytes: mib)),
    Refusal(
      image: flat(.prot32, at: .max), memory: .max,
      error: .codeBeyondMemory(loadAddress: .max, codeBytes: 16, memoryBytes: .max)),
    Refusal(
      image: flat(.real16, at: mib - 16, count: 17), memory: 2 * mib,
      error: .codeBeyondMode(.real16, loadAddress: mib - 16, codeBytes: 17, limit: mib)),
    Refusal(
      image: flat(.prot32, at: 0xBFFF_FFFF, count: 2), memory: 1 << 33,
      error: .codeBeyondMode(.prot32, loadAddress: 0xBFFF_FFFF, codeBytes: 2, limit: 0xC000_0000)),
    Refusal(
      image: flat(.long64Ring3, at: 0x3FFF_FFFF, count: 2), memory: 1 << 33,
      error: .codeBeyondMode(.long64, loadAddress: 0x3FFF_FFFF, codeBytes: 2, limit: 1 << 30)),
    Refusal(
      image: flat(.long64, entry: 0x10010),
      error: .entryOutsideCode(entry: 0x10010, loadAddress: 0x10000, codeBytes: 16)),
    Refusal(
      image: flat(.prot32, entry: 0xFFFF),
      error: .entryOutsideCode(entry: 0xFFFF, loadAddress: 0x10000, codeBytes: 16)),
    Refusal(
      image: flat(.real16, entry: 0x20000, count: 0x10001),
      error: .entryBeyondSegment(entry: 0x20000, loadAddress: 0x10000)),
  ]

  @Test(arguments: refusals)
  func refuses(row: Refusal) {
    #expect(throws: row.error) { try row.image.layout(memoryBytes: row.memory, vcpus: row.vcpus) }
    // Two sentences: what is wrong, and what to do.
    #expect(row.error.description.hasSuffix("."))
    #expect(row.error.description.contains(". "))
  }

  @Test func edgesFit() throws {
    for image in [
      flat(.long64, at: mib - 16), flat(.prot32, at: 0), flat(.prot32, at: mib - 1, count: 1), flat(.real16, at: 0),
    ] {
      let layout = try image.layout(memoryBytes: mib, vcpus: 8)
      #expect(try layout.segments.last?.bytes().allSatisfy { $0 == 0x90 } == true)
    }
    _ = try flat(.prot32, at: 0xBFFF_FFFF, count: 1).layout(memoryBytes: 1 << 33, vcpus: 1)
    _ = try flat(.long64, at: 0x3FFF_FFFF, count: 1).layout(memoryBytes: 1 << 33, vcpus: 1)
  }

  @Test(arguments: BuiltinGuest.all)
  func builtinsFitInOneMiB(guest: BuiltinGuest) throws {
    let image = GuestImage.builtin(guest)
    #expect(image.name == guest.name)
    let layout = try image.layout(memoryBytes: mib, vcpus: guest.maxVCPUs)
    #expect(layout.segments.last?.address == 0x10000)
    #expect(try layout.segments.last?.bytes() == guest.code)
  }

  @Test func names() {
    #expect(flat(.long64).name == "flat")
    #expect(FlatMode.allCases.map(\.rawValue) == ["real16", "prot32", "long64", "long64_ring3"])
    #expect(CPUMode.allCases.map(\.rawValue) == ["real16", "prot32", "long64"])
    let image = FlatImage(mode: .long64, code: [1])
    #expect((image.loadAddress, image.entry) == (0x10000, 0x10000))
    #expect(FlatImage(mode: .long64, loadAddress: 0x20000, code: [1]).entry == 0x20000)
  }

  /// Random images, mostly near the limits: never a trap, accepted exactly when the rules, stated here in 128-bit
  /// arithmetic that cannot overflow, say so, and what is accepted is sound.
  @Test func randomImages() throws {
    var random = SeededGenerator(for: "GuestLayoutTests")
    let landmarks: [UInt64] = [0, 0x7C00, 0xFFFF, 0x10000, mib, 2 * mib, 1 << 30, 0xC000_0000, 1 << 32, 1 << 33, .max]
    func address() -> UInt64 {
      let landmark = landmarks[Int.random(in: 0..<landmarks.count, using: &random)]
      let step = UInt64.random(in: 0..<40, using: &random)
      switch Int.random(in: 0..<4, using: &random) {
      case 0: return landmark &- step
      case 1: return landmark &+ step
      case 2: return landmark
      default: return .random(in: 0 ... .max, using: &random) >> UInt64.random(in: 0..<64, using: &random)
      }
    }
    var accepted = 0
    for _ in 0..<50_000 {
      let mode = FlatMode.allCases[Int.random(in: 0..<4, using: &random)]
      let load = Bool.random(using: &random) ? address() : address() & ~15
      let count = Int.random(in: 0..<20, using: &random) == 0 ? 0x10020 : Int.random(in: 0..<40, using: &random)
      let entry: UInt64? =
        switch Int.random(in: 0..<3, using: &random) {
        case 0: nil
        case 1: load &+ UInt64.random(in: 0..<UInt64(count + 2), using: &random)
        default: address()
        }
      let memory = Int.random(in: 0..<3, using: &random) == 0 ? address() : 1 << 34
      let vcpus = Int.random(in: 0..<10, using: &random) == 0 ? Int(truncatingIfNeeded: address()) : 1 + count % 8
      let code = [UInt8](repeating: 0xF4, count: count)
      let image = FlatImage(mode: mode, loadAddress: load, entry: entry, code: code)
      let layout = try? GuestImage.flat(image).layout(memoryBytes: memory, vcpus: vcpus)
      let expected = Self.isSound(image, memory: memory, vcpus: vcpus)
      #expect((layout != nil) == expected, "\(mode) load \(load) entry \(image.entry) count \(count) memory \(memory)")
      guard let layout else { continue }
      accepted += 1
      var end: UInt64 = 0
      for segment in layout.segments {
        #expect(segment.address >= end && segment.count > 0)
        end = segment.address + segment.count
      }
      #expect(end <= memory)
      let start = try #require(layout.starts[vcpus - 1])
      #expect(start.codeSegmentBase + start.entry == image.entry)
      if mode == .real16 {
        #expect(start.entry <= 0xFFFF && start.stackPointer <= 0xFFFF && start.codeSegmentBase >> 4 <= 0xFFFF)
      }
    }
    #expect(accepted > 1000)
  }

  private static func isSound(_ image: FlatImage, memory: UInt64, vcpus: Int) -> Bool {
    let load = Int128(image.loadAddress)
    let entry = Int128(image.entry)
    let end = load + Int128(image.code.count)
    let placed =
      switch image.mode {
      case .real16: end <= 1 << 20 && load % 16 == 0 && entry - load < 1 << 16
      case .prot32: end <= 0xC000_0000
      case .long64, .long64Ring3: end <= 1 << 30 && load >= 0x10000
      }
    return memory >= mib && (1...8).contains(vcpus) && end <= Int128(memory) && placed && (load..<end).contains(entry)
  }
}

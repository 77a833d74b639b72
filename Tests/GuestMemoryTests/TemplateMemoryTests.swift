import Testing

@testable import GuestMemory

/// Templates do not change, and clones go back to them.
@Suite struct TemplateMemoryTests {
  private static let pageBytes = 4096

  /// Four pages: two with bytes, one of them with a single one at its end.
  private static func template() throws -> TemplateMemory {
    let memory = try GuestRAM(size: 4 * 4096)
    defer { memory.unmap() }
    try memory.write([1, 2, 3], at: 0)
    try memory.write([9], at: 3 * 4096 - 1)
    return try memory.frozen()
  }

  @Test func aTemplateKeepsWhatIsNotZero() throws {
    let template = try Self.template()
    #expect(template.size == 4 * 4096)
    #expect(template.storedBytes == 2 * 4096)
    let clone = try GuestRAM(cloning: template)
    defer { clone.unmap() }
    #expect(try clone.read(at: 0, count: 4) == [1, 2, 3, 0])
    #expect(try clone.read(at: 3 * 4096 - 1, count: 2) == [9, 0])
    #expect(clone.firstDifference() == nil)
  }

  @Test func clonesDoNotSeeEachOther() throws {
    let template = try Self.template()
    let clones = try (0..<2).map { _ in try GuestRAM(cloning: template) }
    defer { for clone in clones { clone.unmap() } }
    try clones[0].write([7], at: 0)
    #expect(clones[0].firstDifference() == 0)
    #expect(try clones[1].read(at: 0, count: 1) == [1])
    #expect(clones[1].firstDifference() == nil)
  }

  /// Every way in which the server writes guest memory is undone without the guest's own log.
  @Test func whatTheServerWroteIsUndone() throws {
    let clone = try GuestRAM(cloning: Self.template())
    defer { clone.unmap() }
    try clone.write([7, 7], at: 4095)
    _ = try clone.fill(at: 2 * 4096, count: 16) { span in
      for index in 0..<16 { span.storeBytes(of: 0xEE, toByteOffset: index, as: UInt8.self) }
    }
    #expect(clone.firstDifference() == 0)
    #expect(clone.revert([]) == 3)
    #expect(clone.firstDifference() == nil)
    #expect(clone.revert([]) == 0)
  }

  /// What the guest wrote is undone by the bits of its log.
  @Test func whatTheGuestWroteIsUndone() throws {
    let clone = try GuestRAM(cloning: Self.template())
    defer { clone.unmap() }
    try clone.write([8], at: 3 * 4096)
    // As the guest does it: nothing is marked.
    clone.forgetWrites()
    #expect(clone.revert([1 << 2]) == 1)
    #expect(clone.firstDifference() == 3)
    #expect(clone.revert([1 << 3]) == 1)
    #expect(clone.firstDifference() == nil)
  }
}

import Testing

@testable import GuestImages

struct BuiltinGuestTests {
  @Test func allAreThereByName() {
    #expect(BuiltinGuest.all.map(\.name) == ["spin", "pio", "mmio", "halt", "hello", "echo"])
    for guest in BuiltinGuest.all { #expect(BuiltinGuest.named(guest.name) == guest) }
    for name in ["", "Spin", "spin ", "flat"] { #expect(BuiltinGuest.named(name) == nil) }
  }

  @Test func needWhatTheyShould() {
    for guest in BuiltinGuest.all {
      #expect(guest.ring == (guest.name == "halt" ? 0 : 3))
      #expect(guest.maxVCPUs == (["hello", "echo"].contains(guest.name) ? 1 : 8))
      #expect(!guest.code.isEmpty && guest.code.count < 4096)
      #expect(guest.description.hasSuffix("."))
    }
  }

  /// The whole code of the loops, byte by byte.
  @Test(
    arguments: [
      // xor eax, eax; inc rax; jmp -5
      ("spin", [0x31, 0xC0, 0x48, 0xFF, 0xC0, 0xEB, 0xFB]),
      // xor ebx, ebx; out 0x80, al; inc rbx; jmp -7
      ("pio", [0x31, 0xDB, 0xE6, 0x80, 0x48, 0xFF, 0xC3, 0xEB, 0xF9]),
      // xor ebx, ebx; mov edx, 0xD0000000; mov [rdx], ebx; inc rbx; jmp -7
      ("mmio", [0x31, 0xDB, 0xBA, 0x00, 0x00, 0x00, 0xD0, 0x89, 0x1A, 0x48, 0xFF, 0xC3, 0xEB, 0xF9]),
      // hlt; jmp -3
      ("halt", [0xF4, 0xEB, 0xFD]),
    ] as [(String, [UInt8])])
  func loopsAreExactly(name: String, code: [UInt8]) {
    #expect(BuiltinGuest.named(name)?.code == code)
  }

  @Test(arguments: ["hello", "echo"])
  func talkersUseTheirPortsAndStop(name: String) throws {
    let code = try #require(BuiltinGuest.named(name)).code
    let dataPort: [UInt8] = [0xBA, 0xF8, 0x03, 0x00, 0x00]  // mov edx, 0x3F8
    let statusPort: [UInt8] = [0xBA, 0xFD, 0x03, 0x00, 0x00]  // mov edx, 0x3FD
    let waitToSend: [UInt8] = [0xEC, 0xA8, 0x20, 0x74, 0xFB]  // in al, dx; test al, 0x20; jz to the in
    let exit: [UInt8] = [0x31, 0xC0, 0xE6, 0xF4, 0xF3, 0x90, 0xEB, 0xFC]  // xor eax, eax; out 0xF4, al; pause; jmp -4
    for part in [dataPort, statusPort, waitToSend, [0xEE], exit] { #expect(code.contains(part)) }
    if name == "hello" {
      #expect(Array(code.suffix(18)) == Array("Hello from vmpool\n".utf8))
    } else {
      #expect(code.contains([0xEC, 0x3C, 0x04, 0x74] as [UInt8]))  // in al, dx; cmp al, 4; jz
      #expect(code.suffix(exit.count) == exit[...])
    }
  }
}

import Foundation
import Testing

/// What is x86 stands in folders of that name, so that a port to another architecture knows what it has to write.
struct ArchitectureTests {
  /// Modules that are not of one architecture, but for those folders.
  static let modules = ["CKVM", "KVM", "VCPURuntime", "MachineRuntime", "Devices"]

  /// Registers, tables, controllers and calls of x86, as words of an identifier: `setTSSAddress` has three.
  static let names: Set<String> = [
    "rip", "eip", "rsp", "rbp", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "eax", "ebx", "ecx", "edx", "rflags",
    "eflags",
    "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "xcr0", "xcrs", "xsave", "xsave2", "gdt", "gdtr", "idt", "idtr", "ldt",
    "tss",
    "sregs", "sregs2", "cpuid", "cpuid2", "msr", "msrs", "rdmsr", "wrmsr", "mtrr", "tsc", "apic", "lapic", "ioapic",
    "pic",
    "pit", "pit2", "hpet", "cmos", "bios", "e820", "dsdt", "madt", "smbios", "kvmclock", "i8042", "i8254", "i8259",
  ]

  /// Words that mean something else there: a serial port has a modem status register.
  static let homonyms: [String: Set<String>] = ["Sources/Devices/Serial16550/UARTRegisters.swift": ["msr"]]

  @Test func noNameOfOneArchitectureStandsOutsideOfItsFolder() throws {
    for module in Self.modules {
      let files = try Repository.files(in: "Sources/" + module, endings: ["swift", "c", "h", "S"])
      for (path, text) in files where !path.contains("/x86_64/") && !path.contains("/aarch64/") {
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
          let code = line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line
          let found = Self.words(code).intersection(Self.names).subtracting(Self.homonyms[path, default: []])
          #expect(found.isEmpty, "\(path):\(number + 1): \(found.sorted().joined(separator: ", ")) is of x86")
        }
      }
    }
  }

  @Test(arguments: [
    ("setTSSAddress", ["set", "tss", "address"]), ("KVM_SET_CPUID2", ["kvm", "set", "cpuid2"]),
    ("regs.rip", ["regs", "rip"]), ("hasIOAPIC", ["has", "ioapic"]), ("kvmclockControl", ["kvmclock", "control"]),
  ])
  func anIdentifierHasWords(text: String, words: [String]) { #expect(Self.words(text[...]) == Set(words)) }

  /// The words of a line, in small letters: a capital after a small letter begins one, and so does the last of several
  /// capitals before a small letter.
  private static func words(_ line: Substring) -> Set<String> {
    var words: Set<String> = []
    for part in line.split(whereSeparator: { !$0.isLetter && !$0.isNumber }) {
      for match in part.matches(of: /[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z0-9]+|[A-Z]/) {
        words.insert(match.0.lowercased())
      }
    }
    return words
  }

  static let headers = "/usr/aarch64-linux-gnu/include"

  /// arm64 lacks an entry stub and a host to try it on. The C that both would share compiles.
  @Test func theCOfKVMAndLinuxCompilesForARM64() throws {
    guard FileManager.default.fileExists(atPath: Self.headers + "/linux/kvm.h") else {
      let reason =
        "SKIPPED: C is not compiled for arm64: its headers are missing (apt-get install libc6-dev-arm64-cross)\n"
      return FileHandle.standardError.write(Data(reason.utf8))
    }
    for module in ["CKVM", "CLinux"] {
      let folder = Repository.root.appending(path: "Sources/" + module).path
      for (path, _) in try Repository.files(in: "Sources/" + module, endings: ["c"]) {
        let clang = Process()
        clang.executableURL = URL(filePath: "/usr/bin/env")
        clang.arguments =
          ["clang", "--target=aarch64-linux-gnu", "-nostdlibinc", "-isystem", Self.headers, "-fsyntax-only"]
          + ["-std=gnu17", "-Wall", "-Wextra", "-Werror", "-I", folder + "/include"]
          + [Repository.root.appending(path: path).path]
        let errors = Pipe()
        clang.standardError = errors
        try clang.run()
        let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        clang.waitUntilExit()
        #expect(clang.terminationStatus == 0, "\(path): \(said)")
      }
    }
  }
}

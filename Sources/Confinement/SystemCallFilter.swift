import CSeccomp
import Glibc
import LinuxSupport
import SystemPackage

/// A program for the kernel that allows or refuses a thread's system calls, made by libseccomp.
@safe struct SystemCallFilter: ~Copyable {
  // Safe: libseccomp makes the context, and one value owns it.
  private let context: scmp_filter_ctx

  /// What is not told otherwise is allowed.
  static func allowing() throws(Errno) -> SystemCallFilter { try SystemCallFilter(default: cseccomp_allow) }

  /// What is not told otherwise fails with EPERM.
  static func refusing() throws(Errno) -> SystemCallFilter {
    try SystemCallFilter(default: cseccomp_fail(UInt16(EPERM)))
  }

  private init(default action: UInt32) throws(Errno) {
    // Safe: libseccomp makes the context, which is released here or by `deinit`.
    guard let made = unsafe seccomp_init(action) else { throw .noMemory }
    // Calls of another architecture, such as those of 32-bit programs.
    let result = unsafe seccomp_attr_set(made, SCMP_FLTATR_ACT_BADARCH, cseccomp_kill_process)
    guard result == 0 else {
      unsafe seccomp_release(made)
      throw Errno(rawValue: -result)
    }
    unsafe context = made
  }

  deinit {
    // Safe: made by `init`, released once.
    unsafe seccomp_release(context)
  }

  mutating func allow(_ rules: [SystemCallRule]) throws(Errno) { try add(cseccomp_allow, rules) }

  mutating func kill(_ rules: [SystemCallRule]) throws(Errno) { try add(cseccomp_kill_process, rules) }

  mutating func fail(_ rules: [SystemCallRule], with error: Errno) throws(Errno) {
    try add(cseccomp_fail(UInt16(error.rawValue)), rules)
  }

  private mutating func add(_ action: UInt32, _ rules: [SystemCallRule]) throws(Errno) {
    for rule in rules {
      // Safe: the name lives for the call.
      let number = unsafe seccomp_syscall_resolve_name(rule.name)
      // A call that this architecture lacks has a number below 0, and libseccomp passes it over.
      guard number != -1 else { throw .noFunction }
      let conditions = rule.conditions.map { cseccomp_masked($0.argument, $0.mask, $0.value) }
      // Safe: the array lives for the call, which copies it.
      let result = unsafe seccomp_rule_add_array(context, action, number, UInt32(conditions.count), conditions)
      // Two groups may have the same rule.
      if result < 0, result != -EEXIST { throw Errno(rawValue: -result) }
    }
  }

  /// Looks at this call before all others.
  mutating func putFirst(_ name: String) {
    // Safe: the context is whole, and the name lives for the call. It changes the order only, so its failure changes nothing.
    unsafe _ = seccomp_syscall_priority(context, seccomp_syscall_resolve_name(name), 255)
  }

  /// The instructions.
  func program() throws(Errno) -> [UInt8] {
    let file = try MemoryFile(name: "seccomp", size: 0)
    // Safe: the context is whole, and the kernel writes at most as much as the array holds.
    let result = unsafe seccomp_export_bpf(context, file.rawValue)
    guard result == 0 else { throw Errno(rawValue: -result) }
    var bytes = [UInt8](repeating: 0, count: Int(lseek(file.rawValue, 0, SEEK_END)))
    guard unsafe pread(file.rawValue, &bytes, bytes.count, 0) == bytes.count else { throw .ioError }
    return bytes
  }
}

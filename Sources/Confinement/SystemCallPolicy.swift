import CSeccomp
import Glibc
import LinuxSupport

/// Which system calls a thread may make, by its role. `docs/sandbox.md` has the reasons in a table.
///
/// The lists were found by reading and by tracing the system tests (strace -f -Y).
enum SystemCallPolicy {
  // MARK: All threads

  /// What no version of the server calls, and what an attacker needs first: it ends the process. All else that is refused fails
  /// with EPERM, since a library may call it some day where the server can go on without.
  static let fatal = SystemCallRule.plain(
    """
    execve execveat ptrace process_vm_readv process_vm_writev kexec_load kexec_file_load init_module finit_module
    delete_module bpf perf_event_open mount umount2 pivot_root chroot setns unshare add_key request_key keyctl
    userfaultfd open_by_handle_at swapon swapoff reboot iopl ioperm modify_ldt
    """)

  /// The C library asks for clone3 first, whose flags lie in memory that a filter cannot read. It takes ENOSYS for an old
  /// kernel and calls clone, whose flags are an argument.
  static let absent = SystemCallRule.plain("clone3")

  /// The C library's and Swift's runtime: threads, locks, clocks, memory, and the end of the process.
  private static let runtime: [SystemCallRule] =
    SystemCallRule.plain(
      """
      futex clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday restart_syscall sched_yield sched_getaffinity
      getpid gettid rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack exit exit_group
      brk munmap madvise mremap getrandom clone3 set_robust_list rseq
      read write writev close fstat newfstatat poll ppoll
      """) + [
      // Neither code that was written nor data that was read is executed.
      SystemCallRule("mmap", .bits(2, UInt64(PROT_EXEC), are: 0)),
      SystemCallRule("mprotect", .bits(2, UInt64(PROT_EXEC), are: 0)),
      // Threads, and no processes.
      SystemCallRule("clone", .bits(0, UInt64(CLONE_THREAD), are: UInt64(CLONE_THREAD))),
      // A thread's name.
      SystemCallRule("prctl", .int(0, is: 15)),
      // Kicks, and abort(3): signals to threads of this process alone.
      SystemCallRule("tgkill", .int(0, is: UInt64(getpid()))),
    ]

  /// /proc, /sys and files of images: to read. The mask has the bits that write, make or cut a file.
  private static let reading: [SystemCallRule] =
    SystemCallRule.plain("pread64 lseek") + [
      SystemCallRule("openat", .bits(2, UInt64(O_ACCMODE | O_CREAT | O_TRUNC | 0o20000000), are: 0))
    ]

  /// Waking the thread that has a request's connection, and setting deadlines.
  private static let waking = SystemCallRule.plain("epoll_ctl timerfd_settime")

  // MARK: Pieces of roles

  private static let vcpuRequests: [SystemCallRule] = (0..<cseccomp_vcpu_request_count()).map { index in
    SystemCallRule("ioctl", .int(1, is: cseccomp_vcpu_request(index)))
  }

  /// Any request of KVM, and of no other device: 0xAE is the type in the request's number.
  private static let kvm = [SystemCallRule("ioctl", .bits(1, 0xFF00, are: 0xAE00))]

  /// Templates are sealed files without names; interrupts come by event counters; `memory_resident_bytes` by mincore.
  private static let machines = kvm + SystemCallRule.plain("memfd_create ftruncate fcntl eventfd2 pwrite64 mincore")

  /// SQLite's files, blobs, the directory of images.
  private static let files =
    SystemCallRule.plain(
      """
      openat pwrite64 preadv pwritev lseek fcntl flock fsync fdatasync ftruncate fallocate fadvise64 copy_file_range
      unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir getdents64 readlink readlinkat access faccessat faccessat2
      stat lstat statx fchmod fchown utimensat fstatfs statfs getcwd geteuid getuid sysinfo uname getrusage dup
      """) + [
      // Limits are read, and not set.
      SystemCallRule("prlimit64", .bits(2, .max, are: 0))
    ]

  private static let connections = SystemCallRule.plain(
    """
    accept4 recvfrom recvmsg sendto sendmsg sendfile shutdown getsockopt setsockopt getsockname getpeername
    epoll_wait epoll_pwait epoll_create1 eventfd2
    """)

  /// Cutting off a stream whose client may no longer read it: its key ends, or the rule that let it in.
  private static let cutting = SystemCallRule.plain("shutdown")

  /// To the service manager, and to the server's own address.
  private static let clients = SystemCallRule.plain("socket connect sendto recvfrom setsockopt")

  // MARK: Roles

  static func allowed(_ role: ThreadRole) -> [SystemCallRule] {
    switch role {
    case .vcpu: runtime + reading + waking + vcpuRequests + SystemCallRule.plain("mincore")
    case .requests: runtime + reading + waking + connections + files + machines
    case .machines: runtime + reading + waking + machines
    case .files: runtime + reading + files + waking + cutting
    case .operations: runtime + reading + waking + files + machines + cutting
    case .service: runtime + reading + waking + files + machines + clients + cutting
    case .plain: runtime
    }
  }
}

// Linux calls that Swift cannot make itself: variadic, macro-defined or without a library wrapper.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/// Waits while `*word == expected`. `timeout_ns` < 0 waits for ever. Returns 0 when woken, else -errno
/// (EAGAIN: the word had changed; EINTR; ETIMEDOUT). See futex(2).
int clinux_futex_wait(const void *_Nonnull word, uint32_t expected, int64_t timeout_ns);

/// Wakes up to `count` waiters of `word`; returns how many were woken, else -errno. See futex(2).
int clinux_futex_wake(const void *_Nonnull word, int count);

/// The calling thread's kernel id, gettid(2).
pid_t clinux_gettid(void);

/// Creates an anonymous memory file of `size` bytes, memfd_create(2), close-on-exec, which can be sealed. Returns the
/// descriptor or -errno.
int clinux_memfd(const char *_Nonnull name, uint64_t size);

/// Seals an anonymous memory file against every change, fcntl(2) F_ADD_SEALS. It must not be mapped writable and shared.
/// Returns 0 or -errno.
int clinux_seal(int file);

/// Sets room aside for a file's first `bytes`, and leaves its size as it is, fallocate(2). Returns 0 or -errno.
int clinux_set_room_aside(int file, int64_t bytes);

/// Creates an event counter, eventfd(2), that never blocks, close-on-exec. Returns the descriptor or -errno.
int clinux_eventfd(void);

/// Creates a timer descriptor on CLOCK_MONOTONIC, timerfd_create(2), that blocks, close-on-exec. Returns the descriptor
/// or -errno.
int clinux_timer(void);

/// Sets the timer to `at_ns` (CLOCK_MONOTONIC, not 0); what it was set to before is forgotten. Does not wait. Returns 0
/// or -errno. See timerfd_settime(2).
int clinux_timer_set(int timer, uint64_t at_ns);

/// Has the C library take memory from the kernel in large pieces and keep it, mallopt(3). Before any thread exists.
void clinux_keep_memory(void);

/// Waits as sem_wait(3) does, until `deadline_ns` on CLOCK_MONOTONIC at most. Returns 0 or -errno (ETIMEDOUT; EINTR).
/// `semaphore` is a sem_t: its header would declare fd_set here otherwise than in Swift's module of the C library.
int clinux_sem_wait(void *_Nonnull semaphore, uint64_t deadline_ns);

/// A time of day and its date, in UTC.
struct clinux_utc {
  int year, month, day, hour, minute, second;
};

/// The date of so many seconds since 1970, gmtime_r(3). The year has to fit an int.
struct clinux_utc clinux_utc(int64_t seconds);

/// CLOCK_REALTIME in nanoseconds.
static inline uint64_t clinux_realtime_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/// CLOCK_MONOTONIC in nanoseconds.
static inline uint64_t clinux_monotonic_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/// CLOCK_MONOTONIC as of the last tick, in nanoseconds.
static inline uint64_t clinux_monotonic_coarse_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// ---- what a thread gives up, for good (sandbox.c) ------------------------------------------------------------------

/// The calling thread, and those that it starts, gain no privileges any more by executing a file, prctl(2)
/// PR_SET_NO_NEW_PRIVS. Returns 0 or -errno.
int clinux_no_new_privileges(void);

/// Whether that is so: 1 or 0.
int clinux_has_no_new_privileges(void);

/// The process leaves no core dump, and only root may look into its memory, prctl(2) PR_SET_DUMPABLE. Returns 0 or -errno.
int clinux_forbid_dumps(void);

/// The calling thread, and those that it starts, keep no other capabilities than those of the bits in `kept`, and pass none
/// on, capabilities(7). Returns 0 or -errno.
int clinux_keep_capabilities(uint64_t kept);

/// The calling thread's effective capabilities as a set of bits, or -errno.
int64_t clinux_capabilities(void);

/// Has the kernel run `program`, instructions of classic BPF, before each system call of the calling thread and those that
/// it starts, seccomp(2). `logs`: the kernel's audit log has a line of what the program refuses. Returns 0 or -errno.
int clinux_filter_calls(const void *_Nonnull program, size_t bytes, bool logs);

/// The version of the kernel's Landlock, from 1 on, or -errno (ENOSYS, EOPNOTSUPP: there is none).
int clinux_landlock_version(void);

/// Makes a set of rules about the accesses of `handled` (LANDLOCK_ACCESS_FS_…). Returns its descriptor or -errno.
int clinux_landlock_ruleset(uint64_t handled);

/// Allows `access` to what is at or below `path`; where that is no directory, as far as `of_files` goes. Returns 0 or -errno.
int clinux_landlock_allow(int ruleset, const char *_Nonnull path, uint64_t access, uint64_t of_files);

/// The calling thread, and those that it starts, may do what the rules allow, and no more. Returns 0 or -errno.
int clinux_landlock_restrict(int ruleset);

/// Who the process at the other end of a unix socket was when it connected: SO_PEERCRED and SO_PEERGROUPS, unix(7) and
/// socket(7). Stores at most `capacity` supplementary groups. Returns how many there are, else -errno (ERANGE: more than
/// `capacity`; ENOPROTOOPT, ENODATA: the kernel does not know).
int clinux_peer(
    int socket, uint32_t *_Nonnull uid, uint32_t *_Nonnull gid, uint32_t *_Nonnull groups, int capacity);

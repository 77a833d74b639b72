// Linux calls that Swift cannot make itself: variadic, macro-defined or without a library wrapper.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
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

/// Who the process at the other end of a unix socket was when it connected: SO_PEERCRED and SO_PEERGROUPS, unix(7) and
/// socket(7). Stores at most `capacity` supplementary groups. Returns how many there are, else -errno (ERANGE: more than
/// `capacity`; ENOPROTOOPT, ENODATA: the kernel does not know).
int clinux_peer(
    int socket, uint32_t *_Nonnull uid, uint32_t *_Nonnull gid, uint32_t *_Nonnull groups, int capacity);

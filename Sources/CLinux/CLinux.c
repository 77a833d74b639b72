#include "CLinux.h"
#include <fcntl.h>
#include <semaphore.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

int clinux_futex_wait(const void *word, uint32_t expected, int64_t timeout_ns) {
  struct timespec t = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
  long r = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns < 0 ? NULL : &t, NULL, 0);
  return r < 0 ? -errno : 0;
}

int clinux_futex_wake(const void *word, int count) {
  long r = syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
  return r < 0 ? -errno : (int)r;
}

pid_t clinux_gettid(void) { return (pid_t)syscall(SYS_gettid); }

int clinux_eventfd(void) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

int clinux_timer(void) {
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int clinux_timer_set(int timer, uint64_t at_ns) {
  struct itimerspec t = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000u), .tv_nsec = (long)(at_ns % 1000000000u)}};
  return timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL) < 0 ? -errno : 0;
}

int clinux_memfd(const char *name, uint64_t size) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd >= 0 && ftruncate(fd, (off_t)size) < 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd < 0 ? -errno : fd;
}

int clinux_sem_wait(void *semaphore, uint64_t deadline_ns) {
  struct timespec t = {.tv_sec = (time_t)(deadline_ns / 1000000000u), .tv_nsec = (long)(deadline_ns % 1000000000u)};
  return sem_clockwait(semaphore, CLOCK_MONOTONIC, &t) < 0 ? -errno : 0;
}

struct clinux_utc clinux_utc(int64_t seconds) {
  time_t time = seconds;
  struct tm t = {0};
  gmtime_r(&time, &t);
  return (struct clinux_utc){t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec};
}

int clinux_seal(int file) {
  int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  return fcntl(file, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

int clinux_set_room_aside(int file, int64_t bytes) {
  return fallocate(file, FALLOC_FL_KEEP_SIZE, 0, bytes) < 0 ? -errno : 0;
}

void clinux_keep_memory(void) {
  // The arenas of single threads grow by a page at a time, with a system call each.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TOP_PAD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  // It would grow by itself, and the other threshold with it.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
}

int clinux_peer(int socket, uint32_t *uid, uint32_t *gid, uint32_t *groups, int capacity) {
  struct ucred credentials;
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return -errno;
  *uid = credentials.uid;
  *gid = credentials.gid;
  size = (socklen_t)capacity * sizeof(gid_t);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) return -errno;
  return (int)(size / sizeof(gid_t));
}

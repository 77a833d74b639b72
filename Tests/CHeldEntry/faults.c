#include "CHeldEntry.h"
#include <dlfcn.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// ---- KVM_RUN ---------------------------------------------------------------------------------------------------

static _Atomic int run_error;
static _Atomic uint32_t run_failures;

static long run(int fd, const volatile void *reasons) {
  if (__atomic_load_n((const volatile char *)reasons, __ATOMIC_RELAXED)) return CKVM_ABORTED;
  return syscall(SYS_ioctl, fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

static struct ckvm_vcpu *_Atomic exiting;
static _Atomic uint32_t exit_reason, exits_left;

static bool take_one(_Atomic uint32_t *left) {
  uint32_t n = atomic_load(left);
  while (n && !atomic_compare_exchange_weak(left, &n, n - 1)) {}
  return n;
}

static long run_or_fail(int fd, const volatile void *reasons) {
  struct ckvm_vcpu *v = atomic_load(&exiting);
  if (v && v->fd == fd && take_one(&exits_left)) {
    v->run->exit_reason = atomic_load(&exit_reason);
    return 0;
  }
  return take_one(&run_failures) ? -atomic_load(&run_error) : run(fd, reasons);
}

static const struct ckvm_entry failing = {run_or_fail, ckvm_set_immediate_exit};
const struct ckvm_entry *failing_entry(void) { return &failing; }
void failing_entry_set(int error, uint32_t times) {
  atomic_store(&run_error, error);
  atomic_store(&run_failures, times);
}

void failing_entry_exit(struct ckvm_vcpu *vcpu, uint32_t reason, uint32_t times) {
  atomic_store(&exiting, vcpu);
  atomic_store(&exit_reason, reason);
  atomic_store(&exits_left, times);
}

static long run_if_first_was_quiet(int fd, const volatile void *reasons) {
  static __thread enum { NEVER_RUN, MADE, LOST } helper __attribute__((tls_model("initial-exec")));
  if (helper == NEVER_RUN) {
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    helper = sigismember(&mask, SIGUSR1) == 1 ? MADE : LOST;
  }
  return helper == LOST ? -ENOMEM : run(fd, reasons);
}

static const struct ckvm_entry forgetful = {run_if_first_was_quiet, ckvm_set_immediate_exit};
const struct ckvm_entry *forgetful_entry(void) { return &forgetful; }

// ---- calls of the C library: these stand before its own in everything that is linked with this -----------------

static __thread int create_error, kill_error;
static __thread uint32_t create_failures, kill_failures;

void fail_create_vm(int error, uint32_t times) { create_error = error, create_failures = times; }
uint32_t create_vm_failures_left(void) { return create_failures; }
void fail_pthread_kill(int error, uint32_t times) { kill_error = error, kill_failures = times; }
static _Atomic int every_kill_error;
void fail_every_pthread_kill(int error) { atomic_store(&every_kill_error, error); }

static _Atomic bool answers_ctrl;
static _Atomic int ctrl_error;
static _Atomic uint32_t ctrls;
void answer_kvmclock_ctrl(int error) {
  atomic_store(&ctrl_error, error);
  atomic_store(&answers_ctrl, true);
}
uint32_t kvmclock_ctrls(void) { return atomic_load(&ctrls); }

int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  if (request == KVM_CREATE_VM && create_failures) {
    create_failures--;
    errno = create_error;
    return -1;
  }
  if (request == KVM_KVMCLOCK_CTRL && atomic_load(&answers_ctrl)) {
    atomic_fetch_add(&ctrls, 1);
    errno = atomic_load(&ctrl_error);
    return errno ? -1 : 0;
  }
  return (int)syscall(SYS_ioctl, fd, request, argument);
}

static _Atomic bool is_watching;
static _Atomic uint64_t signals;
static pthread_t watched;

void watch_signals(pthread_t thread) {
  watched = thread;
  atomic_store(&is_watching, true);
}
uint64_t watched_signals(void) { return atomic_load(&signals); }

int pthread_kill(pthread_t thread, int signal) {
  static int (*_Atomic real)(pthread_t, int);
  int refused = atomic_load(&every_kill_error);
  if (refused) return refused;
  if (kill_failures) {
    kill_failures--;
    return kill_error;
  }
  if (atomic_load(&is_watching) && pthread_equal(thread, watched)) atomic_fetch_add(&signals, 1);
  int (*call)(pthread_t, int) = atomic_load_explicit(&real, memory_order_relaxed);
  if (!call) {
    // dlsym's result is the same for everybody, so it does not matter who stores it.
    call = (int (*)(pthread_t, int))dlsym(RTLD_NEXT, "pthread_kill");
    atomic_store_explicit(&real, call, memory_order_relaxed);
  }
  return call(thread, signal);
}

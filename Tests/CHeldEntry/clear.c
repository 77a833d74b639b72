#include "CHeldEntry.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct ckvm_vcpu *_Atomic target;
static _Atomic bool wanted, standing, at_store;
static struct kvm_run *_Atomic guarded;
static __thread bool is_blind __attribute__((tls_model("initial-exec")));

void clear_hold(struct ckvm_vcpu *vcpu, bool at_clearing_store) {
  atomic_store(&at_store, at_clearing_store);
  atomic_store(&target, vcpu);
  atomic_store(&wanted, true);
}
void clear_release(void) { atomic_store(&wanted, false); }
bool clear_is_holding(void) { return atomic_load(&standing); }

static void stand(void) {
  atomic_store(&standing, true);
  while (atomic_load(&wanted)) __builtin_ia32_pause();
  atomic_store(&standing, false);
}

// The store that clears immediate_exit, into a page that was made read-only for it.
static void stored(int signal, siginfo_t *info, void *context) {
  (void)context;
  struct kvm_run *run = atomic_exchange(&guarded, NULL);
  if (!run || info->si_addr != (void *)&run->immediate_exit) {
    // Another fault than ours happens again, and then it is nobody's.
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(signal, &standard, NULL);
    return;
  }
  mprotect(run, 4096, PROT_READ | PROT_WRITE);
  stand();
}

static long enter(int fd, const volatile void *reasons) {
  (void)reasons;
  is_blind = true;
  long result;
  register long third __asm__("rdx") = 0;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(SYS_ioctl), "D"(fd), "S"(KVM_RUN), "r"(third)
                   : "rcx", "r11", "memory");
  struct ckvm_vcpu *v = atomic_load(&target);
  if (atomic_load(&wanted) && v && v->fd == fd && atomic_load(&at_store)) {
    struct sigaction action = {.sa_sigaction = stored, .sa_flags = SA_SIGINFO};
    sigset_t faults;
    sigemptyset(&faults);
    sigaddset(&faults, SIGSEGV);
    sigaction(SIGSEGV, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
    atomic_store(&guarded, v->run);
    mprotect(v->run, 4096, PROT_READ);
  }
  return result;
}

static const struct ckvm_entry entry = {enter, ckvm_set_immediate_exit};
const struct ckvm_entry *blind_entry(void) { return &entry; }

// Stands before the C library's in everything that is linked with this.
int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout) {
  if (is_blind && atomic_load(&wanted)) stand();
  return (int)syscall(SYS_rt_sigtimedwait, set, info, timeout, 8);
}

#include "CKVM.h"
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

long ckvm_entry_stub(int fd, const volatile void *reasons);

static const struct ckvm_entry shipped_entry = {ckvm_entry_stub, ckvm_set_immediate_exit};

_Atomic uint32_t ckvm_news;

struct ckvm_vcpu *ckvm_vcpu_new(int fd, uint32_t run_size, const struct ckvm_entry *entry) {
  struct ckvm_vcpu *vcpu = aligned_alloc(64, (sizeof *vcpu + 63) & ~(size_t)63);
  if (!vcpu) return NULL;
  memset(vcpu, 0, sizeof *vcpu);
  void *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (run == MAP_FAILED) {
    int error = errno;
    free(vcpu);
    errno = error;
    return NULL;
  }
  // What a guest reads and writes at its devices has no place in the server's core dumps.
  madvise(run, run_size, MADV_DONTDUMP);
  vcpu->run = run;
  vcpu->fd = fd;
  vcpu->run_size = run_size;
  vcpu->entry = entry ? entry : &shipped_entry;
  return vcpu;
}

void ckvm_vcpu_unmap(struct ckvm_vcpu *vcpu) {
  if (vcpu->run) munmap(vcpu->run, vcpu->run_size);
  vcpu->run = NULL;
  vcpu->fd = -1;
}

void ckvm_vcpu_free(struct ckvm_vcpu *vcpu) {
  ckvm_vcpu_unmap(vcpu);
  free(vcpu);
}

long ckvm_enter_in_advance(struct ckvm_vcpu *v) {
  static const char no_reasons;
  ckvm_forget_interruption(v);
  __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
  long result = v->entry->enter(v->fd, &no_reasons);
  __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_RELAXED);
  return result;
}

long ckvm_complete(struct ckvm_vcpu *v, int signal) {
  if (signal)
    pthread_kill(pthread_self(), signal);
  else
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
  ckvm_forget_interruption(v);
  return ioctl(v->fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

void ckvm_record_serve(struct ckvm_vcpu *v, uint64_t first, uint64_t last, uint32_t phase, uint64_t out_ns,
                       uint64_t handler_ns) {
  uint64_t n = atomic_load_explicit(&v->serves, memory_order_relaxed);
  struct ckvm_serve *s = &v->ring[n % CKVM_SERVES];
  uint64_t sequence = atomic_load_explicit(&s->sequence, memory_order_relaxed);
  atomic_store_explicit(&s->sequence, sequence + 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_release); // pairs with the acquire fence in ckvm_find_serve
  atomic_store_explicit(&s->first, first, memory_order_relaxed);
  atomic_store_explicit(&s->last, last, memory_order_relaxed);
  atomic_store_explicit(&s->phase, phase, memory_order_relaxed);
  atomic_store_explicit(&s->out_ns, out_ns, memory_order_relaxed);
  atomic_store_explicit(&s->handler_ns, handler_ns, memory_order_relaxed);
  atomic_store_explicit(&s->sequence, sequence + 2, memory_order_release); // pairs with the first load there
  atomic_store_explicit(&v->serves, n + 1, memory_order_release); // likewise
}

bool ckvm_find_serve(struct ckvm_vcpu *v, uint64_t generation, uint32_t *phase, uint64_t *out_ns,
                     uint64_t *handler_ns) {
  uint64_t newest = atomic_load_explicit(&v->serves, memory_order_acquire);
  for (uint64_t back = 1; back <= CKVM_SERVES && back <= newest; back++) {
    struct ckvm_serve *s = &v->ring[(newest - back) % CKVM_SERVES];
    uint64_t before = atomic_load_explicit(&s->sequence, memory_order_acquire);
    uint64_t first = atomic_load_explicit(&s->first, memory_order_relaxed);
    uint64_t last = atomic_load_explicit(&s->last, memory_order_relaxed);
    uint64_t p = atomic_load_explicit(&s->phase, memory_order_relaxed);
    uint64_t out = atomic_load_explicit(&s->out_ns, memory_order_relaxed);
    uint64_t handler = atomic_load_explicit(&s->handler_ns, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    uint64_t after = atomic_load_explicit(&s->sequence, memory_order_relaxed);
    if (before != after || before & 1) return false; // overwritten meanwhile: the ring has come round
    if (first <= generation && generation <= last) {
      *phase = (uint32_t)p;
      *out_ns = out;
      *handler_ns = handler;
      return true;
    }
    if (last < generation) return false;
  }
  return false;
}

uint32_t ckvm_failed_instruction(struct ckvm_vcpu *v, uint8_t bytes[15]) {
  // ndata counts 64-bit words after itself: flags, then size and bytes (16 bytes).
  if (v->run->emulation_failure.ndata < 3) return 0;
  if (!(v->run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) return 0;
  uint32_t size = v->run->emulation_failure.insn_size;
  if (size > 15) size = 15;
  memcpy(bytes, v->run->emulation_failure.insn_bytes, size);
  return size;
}

// ---- the kick signal -------------------------------------------------------------------------------------------

// initial-exec: a lazily bound thread-local could allocate inside the handler.
static __thread struct ckvm_vcpu *_Atomic bound __attribute__((tls_model("initial-exec")));

#if __has_feature(thread_sanitizer)
#include <sys/syscall.h>
#include <unistd.h>
// The sanitizer's clock_gettime takes locks as well (CKVM_IN_HANDLER).
#define read_clock(t) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, t)
#else
#define read_clock(t) clock_gettime(CLOCK_MONOTONIC, t)
#endif

CKVM_IN_HANDLER void ckvm_set_immediate_exit(struct ckvm_vcpu *v, void *context) {
  (void)context;
  // Relaxed is enough, here and below: the only other party is the thread that the handler interrupts.
  __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
}

CKVM_IN_HANDLER static void kicked(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  int saved = errno;
  struct ckvm_vcpu *v = atomic_load_explicit(&bound, memory_order_relaxed);
  if (v) {
    v->entry->kicked(v, context);
    struct timespec t;
    read_clock(&t);
    atomic_store_explicit(&v->handler_ns, (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec, memory_order_relaxed);
  }
  errno = saved;
}

#if __has_feature(thread_sanitizer)
// The sanitizer puts its own handler before ours and calls ours later, when the thread next enters a function that it
// knows: the entry stub is none, and the kick would be lost in the window. So ours is given to the kernel directly.
void ckvm_restore_from_signal(void);
__asm__("ckvm_restore_from_signal: " CKVM_RETURN_FROM_SIGNAL);

int ckvm_install_handler(int signal) {
  struct {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
  } action = {kicked, SA_RESTART | SA_SIGINFO | 0x04000000 /* SA_RESTORER */, ckvm_restore_from_signal, 0};
  return syscall(SYS_rt_sigaction, signal, &action, NULL, 8) < 0 ? -errno : 0;
}
#else
int ckvm_install_handler(int signal) {
  struct sigaction action = {.sa_sigaction = kicked, .sa_flags = SA_RESTART | SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  return sigaction(signal, &action, NULL) < 0 ? -errno : 0;
}
#endif

static void set_blocked(int how, int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(how, &set, NULL);
}

void ckvm_bind_thread(struct ckvm_vcpu *vcpu, int signal) {
  set_blocked(SIG_BLOCK, signal);
  atomic_store_explicit(&bound, vcpu, memory_order_relaxed);
}

bool ckvm_is_bound(void) { return atomic_load_explicit(&bound, memory_order_relaxed) != NULL; }

void ckvm_unblock(int signal) { set_blocked(SIG_UNBLOCK, signal); }

bool ckvm_drain(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  struct timespec none = {0, 0};
  return sigtimedwait(&set, NULL, &none) == signal;
}

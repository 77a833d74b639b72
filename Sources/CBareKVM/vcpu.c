#include "bare.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define KICK_SIGNAL SIGUSR2

enum goal { PARK, RUN, END };

static const uint64_t PARK_PATIENCE_NS = 10000000000, RESEND_NS = 10000000;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct timespec duration(uint64_t ns) {
  return (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

static long futex_wait(_Atomic uint32_t *word, uint32_t expected, const struct timespec *timeout) {
  return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

// ---- the vCPU's thread -----------------------------------------------------------------------------------------

static __thread struct barekvm_vcpu *volatile current __attribute__((tls_model("initial-exec")));

static void kicked(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  struct barekvm_vcpu *vcpu = current;
  if (!vcpu) return;
  greg_t *ip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  switch (vcpu->mechanism) {
  case BAREKVM_IMMEDIATE_EXIT: vcpu->run->immediate_exit = 1; break;
  case BAREKVM_IP_FIXUP:
    vcpu->kicked = 1;
    if (*ip >= (greg_t)barekvm_window && *ip <= (greg_t)barekvm_syscall) *ip = (greg_t)barekvm_aborted;
    break;
  case BAREKVM_SIGNAL_ONLY: vcpu->kicked = 1; break;
  case BAREKVM_SIGNAL_MASK: break;
  }
  atomic_store_explicit(&vcpu->handler_ns, now_ns(), memory_order_relaxed);
}

int barekvm_install_handler(void) {
  struct sigaction action = {.sa_sigaction = kicked, .sa_flags = SA_SIGINFO};
  return sigaction(KICK_SIGNAL, &action, NULL) < 0 ? -errno : 0;
}

static void acknowledge(struct barekvm_vcpu *vcpu, uint64_t out_ns) {
  uint32_t generation = atomic_load(&vcpu->requested);
  if (generation == atomic_load_explicit(&vcpu->served, memory_order_relaxed)) return;
  atomic_store_explicit(&vcpu->out_ns, out_ns, memory_order_relaxed);
  atomic_store_explicit(&vcpu->signalled_ns, atomic_load_explicit(&vcpu->handler_ns, memory_order_relaxed),
                        memory_order_relaxed);
  atomic_store_explicit(&vcpu->served, generation, memory_order_release);
  futex_wake(&vcpu->served);
}

// Clears the flag, and only then looks at the requests: a kick that comes in between finds its flag standing.
static void clear_kick(struct barekvm_vcpu *vcpu) {
  if (vcpu->mechanism == BAREKVM_SIGNAL_MASK) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    struct timespec none = {0, 0};
    while (sigtimedwait(&set, NULL, &none) == KICK_SIGNAL) {}
  } else {
    vcpu->run->immediate_exit = 0;
    vcpu->kicked = 0;
  }
  atomic_thread_fence(memory_order_seq_cst);
}

static long enter(struct barekvm_vcpu *vcpu) {
  switch (vcpu->mechanism) {
  case BAREKVM_IP_FIXUP: return barekvm_enter(vcpu->fd, &vcpu->kicked);
  case BAREKVM_SIGNAL_ONLY:
    if (vcpu->kicked) return -EINTR;
    break;
  case BAREKVM_IMMEDIATE_EXIT:
  case BAREKVM_SIGNAL_MASK: break;
  }
  return ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

// Nobody claims the ports and addresses that the guests use: reads give all ones, writes are taken.
static void serve_port(struct kvm_run *run) {
  char *data = (char *)run + run->io.data_offset;
  if (run->io.direction == KVM_EXIT_IO_IN) memset(data, 0xFF, (size_t)run->io.count * run->io.size);
}

static void serve_memory(struct kvm_run *run) {
  if (!run->mmio.is_write) memset(run->mmio.data, 0xFF, sizeof run->mmio.data);
}

// The port to which guests write to end.
enum { END_PORT = 0xF4 };

// Has KVM complete the access by which the guest ended: it would complete it into the registers that a reset sets.
static void end_guest(struct barekvm_vcpu *vcpu) {
  vcpu->run->immediate_exit = 1;
  ioctl(vcpu->fd, KVM_RUN, 0);
  vcpu->run->immediate_exit = 0;
  atomic_store(&vcpu->stopped, KVM_EXIT_IO);
  futex_wake((_Atomic uint32_t *)&vcpu->stopped);
}

static void run_guest(struct barekvm_vcpu *vcpu) {
  struct kvm_run *run = vcpu->run;
  while (atomic_load_explicit(&vcpu->goal, memory_order_acquire) == RUN) {
    long result = enter(vcpu);
    if (result < 0) {
      uint64_t now = now_ns();
      if (result != -EINTR) {
        atomic_store(&vcpu->stopped, (int)result);
        return;
      }
      clear_kick(vcpu);
      acknowledge(vcpu, now);
      continue;
    }
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
      if (run->io.port == END_PORT) return end_guest(vcpu);
      serve_port(run);
      break;
    case KVM_EXIT_MMIO: serve_memory(run); break;
    default: atomic_store(&vcpu->stopped, (int)run->exit_reason); return;
    }
    uint64_t exits = atomic_load_explicit(&vcpu->exits, memory_order_relaxed);
    atomic_store_explicit(&vcpu->exits, exits + 1, memory_order_relaxed);
  }
}

static int mask_signal(struct barekvm_vcpu *vcpu) {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  sigdelset(&mask, KICK_SIGNAL);
  // The kernel's set is 8 bytes, with which the C library's begins.
  union {
    struct kvm_signal_mask argument;
    char room[sizeof(struct kvm_signal_mask) + 8];
  } u = {.argument = {.len = 8}};
  memcpy(u.argument.sigset, &mask, 8);
  return ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &u) < 0 ? -errno : 0;
}

// `parked` against `requested`, here and in `request`: a store and a load on either side, all sequentially consistent.
// `seen` is from before the goal was looked at: a request since then, which may have changed it, ends the sleep.
static void park(struct barekvm_vcpu *vcpu, uint32_t seen) {
  clear_kick(vcpu);
  atomic_store(&vcpu->parked, true);
  acknowledge(vcpu, now_ns());
  futex_wait(&vcpu->requested, seen, NULL);
  atomic_store(&vcpu->parked, false);
  acknowledge(vcpu, now_ns());
}

static void *vcpu_main(void *argument) {
  struct barekvm_vcpu *vcpu = argument;
  if (vcpu->mechanism == BAREKVM_SIGNAL_MASK) {
    atomic_store(&vcpu->stopped, mask_signal(vcpu));
  } else {
    current = vcpu;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  }
  for (;;) {
    uint32_t seen = atomic_load(&vcpu->requested);
    uint32_t goal = atomic_load_explicit(&vcpu->goal, memory_order_acquire);
    if (goal == END) return NULL;
    if (goal == RUN && !atomic_load(&vcpu->stopped)) run_guest(vcpu);
    else park(vcpu, seen);
  }
}

int barekvm_start_thread(struct barekvm_vcpu *vcpu) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  sigset_t all, previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  int error = pthread_create(&vcpu->thread, &attributes, vcpu_main, vcpu);
  pthread_sigmask(SIG_SETMASK, &previous, NULL);
  pthread_attr_destroy(&attributes);
  vcpu->has_thread = error == 0;
  return -error;
}

// ---- the others' side ------------------------------------------------------------------------------------------

// One more request; a thread that is not parked is sent the signal.
static int request(struct barekvm_vcpu *vcpu, uint32_t *generation) {
  *generation = atomic_fetch_add(&vcpu->requested, 1) + 1;
  if (!atomic_load(&vcpu->parked)) return -pthread_kill(vcpu->thread, KICK_SIGNAL);
  futex_wake(&vcpu->requested);
  return 0;
}

static int await(struct barekvm_vcpu *vcpu, uint32_t generation, uint64_t deadline_ns) {
  for (;;) {
    uint32_t served = atomic_load_explicit(&vcpu->served, memory_order_acquire);
    if ((int32_t)(served - generation) >= 0) return 0;
    uint64_t now = now_ns();
    if (now >= deadline_ns) return -ETIMEDOUT;
    struct timespec left = duration(deadline_ns - now);
    futex_wait(&vcpu->served, served, &left);
  }
}

int barekvm_kick(struct barekvm_vm *vm, int index, uint64_t patience_ns, struct barekvm_kick *kick) {
  struct barekvm_vcpu *vcpu = &vm->vcpu[index];
  uint64_t start = now_ns();
  uint32_t generation;
  int error = request(vcpu, &generation);
  if (!error) error = await(vcpu, generation, start + patience_ns);
  if (error) return error;
  uint64_t out = atomic_load_explicit(&vcpu->out_ns, memory_order_relaxed);
  uint64_t signalled = atomic_load_explicit(&vcpu->signalled_ns, memory_order_relaxed);
  // What is older than the request was there for an earlier one.
  *kick = (struct barekvm_kick){generation, signalled > start && signalled <= out ? signalled - start : 0,
                                out > start ? out - start : 0};
  return 0;
}

int barekvm_kick_all(struct barekvm_vm *vm, uint64_t patience_ns) {
  uint64_t deadline = now_ns() + patience_ns;
  uint32_t generation[BAREKVM_MAX_VCPUS];
  for (int i = 0; i < vm->vcpus; i++) {
    int error = request(&vm->vcpu[i], &generation[i]);
    if (error) return error;
  }
  for (int i = 0; i < vm->vcpus; i++) {
    int error = await(&vm->vcpu[i], generation[i], deadline);
    if (error) return error;
  }
  return 0;
}

// The goal first: whoever answers the request has seen it.
static int set_goal(struct barekvm_vcpu *vcpu, enum goal goal, uint32_t *generation) {
  atomic_store_explicit(&vcpu->goal, goal, memory_order_release);
  return request(vcpu, generation);
}

int barekvm_run(struct barekvm_vm *vm) {
  uint32_t generation;
  for (int i = 0; i < vm->vcpus; i++) {
    int error = set_goal(&vm->vcpu[i], RUN, &generation);
    if (error) return error;
  }
  return 0;
}

int barekvm_await_end(struct barekvm_vm *vm) {
  struct barekvm_vcpu *vcpu = &vm->vcpu[0];
  uint64_t deadline = now_ns() + PARK_PATIENCE_NS;
  while (atomic_load(&vcpu->stopped) == 0) {
    uint64_t now = now_ns();
    if (now >= deadline) return -ETIMEDOUT;
    struct timespec left = duration(deadline - now);
    futex_wait((_Atomic uint32_t *)&vcpu->stopped, 0, &left);
  }
  int stopped = atomic_load(&vcpu->stopped);
  return stopped == KVM_EXIT_IO ? 0 : stopped < 0 ? stopped : -EIO;
}

// The goal first: a thread that wakes by itself then finds nothing to do.
void barekvm_forget_end(struct barekvm_vcpu *vcpu) {
  atomic_store_explicit(&vcpu->goal, PARK, memory_order_release);
  atomic_store(&vcpu->stopped, 0);
}

static int await_parked(struct barekvm_vcpu *vcpu, uint32_t generation) {
  // The signal again and again: BAREKVM_SIGNAL_ONLY may lose it.
  for (uint64_t waited = 0; waited < PARK_PATIENCE_NS; waited += RESEND_NS) {
    int error = await(vcpu, generation, now_ns() + RESEND_NS);
    if (error != -ETIMEDOUT) return error;
    pthread_kill(vcpu->thread, KICK_SIGNAL);
  }
  return -ETIMEDOUT;
}

int barekvm_ask_to_park(struct barekvm_vm *vm) {
  uint32_t generation;
  for (int i = 0; i < vm->vcpus; i++) {
    int error = set_goal(&vm->vcpu[i], PARK, &generation);
    if (error) return error;
  }
  return 0;
}

int barekvm_park(struct barekvm_vm *vm) {
  uint32_t generation[BAREKVM_MAX_VCPUS];
  for (int i = 0; i < vm->vcpus; i++) {
    int error = set_goal(&vm->vcpu[i], PARK, &generation[i]);
    if (error) return error;
  }
  for (int i = 0; i < vm->vcpus; i++) {
    int error = await_parked(&vm->vcpu[i], generation[i]);
    if (error) return error;
  }
  return 0;
}

void barekvm_end_thread(struct barekvm_vcpu *vcpu) {
  if (!vcpu->has_thread) return;
  uint32_t generation;
  struct timespec soon;
  do {
    set_goal(vcpu, END, &generation);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon = duration((uint64_t)soon.tv_sec * 1000000000 + (uint64_t)soon.tv_nsec + RESEND_NS);
  } while (pthread_timedjoin_np(vcpu->thread, NULL, &soon) == ETIMEDOUT);
}

uint64_t barekvm_exits(struct barekvm_vm *vm) {
  uint64_t exits = 0;
  for (int i = 0; i < vm->vcpus; i++) exits += atomic_load_explicit(&vm->vcpu[i].exits, memory_order_relaxed);
  return exits;
}

int barekvm_stopped(struct barekvm_vm *vm) {
  for (int i = 0; i < vm->vcpus; i++) {
    int stopped = atomic_load(&vm->vcpu[i].stopped);
    if (stopped) return stopped;
  }
  return 0;
}

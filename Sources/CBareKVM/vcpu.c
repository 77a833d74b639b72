#include "bare.h"
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KICK_SIGNAL SIGUSR2

enum goal { PARK, RUN, END };

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static long futex_wait(_Atomic uint32_t *word, uint32_t expected, const struct timespec *timeout) {
  return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

// ---- the vCPU's thread -----------------------------------------------------------------------------------------

static __thread struct kvm_run *volatile current __attribute__((tls_model("initial-exec")));

static void kicked(int signal) {
  (void)signal;
  if (current) current->immediate_exit = 1;
}

int barekvm_install_handler(void) {
  struct sigaction action = {.sa_handler = kicked};
  return sigaction(KICK_SIGNAL, &action, NULL) < 0 ? -errno : 0;
}

static void acknowledge(struct barekvm_vm *vm, uint64_t out_ns) {
  uint32_t generation = atomic_load_explicit(&vm->requested, memory_order_acquire);
  if (generation == atomic_load_explicit(&vm->served, memory_order_relaxed)) return;
  vm->out_ns = out_ns;
  atomic_store_explicit(&vm->served, generation, memory_order_release);
  futex_wake(&vm->served);
}

// Clears the flag, and only then looks at the requests: a kick that comes in between finds its flag standing.
static void clear_kick(struct barekvm_vm *vm) {
  if (vm->mechanism == BAREKVM_SIGNAL_MASK) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    struct timespec none = {0, 0};
    while (sigtimedwait(&set, NULL, &none) == KICK_SIGNAL) {}
  } else {
    vm->run->immediate_exit = 0;
  }
  atomic_thread_fence(memory_order_seq_cst);
}

// Nobody claims the ports and addresses that the guests use: reads give all ones, writes are taken.
static void serve_port(struct kvm_run *run) {
  char *data = (char *)run + run->io.data_offset;
  if (run->io.direction == KVM_EXIT_IO_IN) memset(data, 0xFF, (size_t)run->io.count * run->io.size);
}

static void serve_memory(struct kvm_run *run) {
  if (!run->mmio.is_write) memset(run->mmio.data, 0xFF, sizeof run->mmio.data);
}

static void run_guest(struct barekvm_vm *vm) {
  struct kvm_run *run = vm->run;
  while (atomic_load_explicit(&vm->goal, memory_order_acquire) == RUN) {
    if (ioctl(vm->vcpu, KVM_RUN, 0) < 0) {
      uint64_t now = now_ns();
      if (errno != EINTR) {
        atomic_store(&vm->stopped, -errno);
        return;
      }
      clear_kick(vm);
      acknowledge(vm, now);
      continue;
    }
    switch (run->exit_reason) {
    case KVM_EXIT_IO: serve_port(run); break;
    case KVM_EXIT_MMIO: serve_memory(run); break;
    default: atomic_store(&vm->stopped, (int)run->exit_reason); return;
    }
    atomic_store_explicit(&vm->exits, atomic_load_explicit(&vm->exits, memory_order_relaxed) + 1, memory_order_relaxed);
  }
}

static int mask_signal(struct barekvm_vm *vm) {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  sigdelset(&mask, KICK_SIGNAL);
  // The kernel's set is 8 bytes, with which the C library's begins.
  union {
    struct kvm_signal_mask argument;
    char room[sizeof(struct kvm_signal_mask) + 8];
  } u = {.argument = {.len = 8}};
  memcpy(u.argument.sigset, &mask, 8);
  return ioctl(vm->vcpu, KVM_SET_SIGNAL_MASK, &u) < 0 ? -errno : 0;
}

static void *vcpu_main(void *argument) {
  struct barekvm_vm *vm = argument;
  if (vm->mechanism == BAREKVM_SIGNAL_MASK) {
    atomic_store(&vm->stopped, mask_signal(vm));
  } else {
    current = vm->run;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  }
  for (;;) {
    uint32_t goal = atomic_load_explicit(&vm->goal, memory_order_acquire);
    if (goal == END) return NULL;
    if (goal == RUN && !atomic_load(&vm->stopped)) {
      run_guest(vm);
    } else {
      acknowledge(vm, now_ns());
      futex_wait(&vm->goal, goal, NULL);
    }
  }
}

int barekvm_start_thread(struct barekvm_vm *vm) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  sigset_t all, previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  int error = pthread_create(&vm->thread, &attributes, vcpu_main, vm);
  pthread_sigmask(SIG_SETMASK, &previous, NULL);
  pthread_attr_destroy(&attributes);
  vm->has_thread = error == 0;
  return -error;
}

// ---- the others' side ------------------------------------------------------------------------------------------

static int await(struct barekvm_vm *vm, uint32_t generation) {
  const struct timespec second = {1, 0};
  for (;;) {
    uint32_t served = atomic_load_explicit(&vm->served, memory_order_acquire);
    if ((int32_t)(served - generation) >= 0) return 0;
    if (futex_wait(&vm->served, served, &second) < 0 && errno == ETIMEDOUT) return -ETIMEDOUT;
  }
}

int barekvm_kick(struct barekvm_vm *vm, struct barekvm_kick *kick) {
  uint64_t start = now_ns();
  uint32_t generation = atomic_fetch_add_explicit(&vm->requested, 1, memory_order_acq_rel) + 1;
  int error = pthread_kill(vm->thread, KICK_SIGNAL);
  if (error) return -error;
  error = await(vm, generation);
  if (error) return error;
  *kick = (struct barekvm_kick){generation, vm->out_ns - start, now_ns() - start};
  return 0;
}

static void set_goal(struct barekvm_vm *vm, enum goal goal) {
  atomic_store_explicit(&vm->goal, goal, memory_order_release);
  futex_wake(&vm->goal);
}

void barekvm_run(struct barekvm_vm *vm) { set_goal(vm, RUN); }

int barekvm_park(struct barekvm_vm *vm) {
  if (atomic_load_explicit(&vm->goal, memory_order_relaxed) == PARK) return 0;
  // The generation first: whoever sees the goal sees that somebody waits for it.
  uint32_t generation = atomic_fetch_add_explicit(&vm->requested, 1, memory_order_acq_rel) + 1;
  set_goal(vm, PARK);
  int error = pthread_kill(vm->thread, KICK_SIGNAL);
  return error ? -error : await(vm, generation);
}

void barekvm_end_thread(struct barekvm_vm *vm) {
  if (!vm->has_thread) return;
  set_goal(vm, END);
  pthread_kill(vm->thread, KICK_SIGNAL);
  pthread_join(vm->thread, NULL);
}

uint64_t barekvm_exits(struct barekvm_vm *vm) { return atomic_load_explicit(&vm->exits, memory_order_relaxed); }

int barekvm_stopped(struct barekvm_vm *vm) { return atomic_load(&vm->stopped); }

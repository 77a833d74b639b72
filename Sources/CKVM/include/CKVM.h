// The KVM interface as far as Swift cannot express it: request numbers, kvm_run's unions, structures with flexible
// arrays, the entry stub, and the signal handler of the kick protocol. Functions return -errno on failure.
// Source: Linux Documentation/virt/kvm/api.rst.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include "../x86_64/processor.h"
#include "../x86_64/state.h"
#elif defined(__aarch64__)
#include "../aarch64/processor.h"
#else
#error "there is no processor.h for this architecture"
#endif

#pragma clang assume_nonnull begin

// ---- ioctls ----------------------------------------------------------------------------------------------------

int ckvm_open(const char *path);
int ckvm_get_api_version(int kvm);
int ckvm_check_extension(int fd, uint32_t capability);
int ckvm_vcpu_mmap_size(int kvm);
int ckvm_create_vm(int kvm);
int ckvm_create_vcpu(int vm, uint32_t index);
int ckvm_create_irqchip(int vm);
/// KVM_IRQFD: what is written to `event` raises interrupt `gsi`.
int ckvm_connect_interrupt(int vm, int event, uint32_t gsi);
/// KVM_SET_MP_STATE: runnable.
int ckvm_make_runnable(int vcpu);
/// Maps [guest, guest + size) onto [host, host + size) as slot `slot`; size 0 removes the slot.
int ckvm_set_memory(int vm, uint32_t slot, uint32_t flags, uint64_t guest, uint64_t size, void *_Nullable host);
/// KVM_GET_DIRTY_LOG: a bit for each page of the slot that its guest wrote since the last call. `bitmap` holds a bit a
/// page, rounded up to 64.
int ckvm_dirty_log(int vm, uint32_t slot, uint64_t *bitmap);
int ckvm_stats_fd(int fd);
/// KVM_SET_SIGNAL_MASK: while in KVM_RUN the calling thread's mask is its present one without `signal`.
int ckvm_unblock_in_run(int vcpu, int signal);

// ---- the vCPU control block ------------------------------------------------------------------------------------

/// Exit reasons that are counted one by one; higher ones share the last counter.
#define CKVM_EXIT_REASONS 40

/// How one batch of requests was served; written by the vCPU thread alone, read by those who waited for it.
struct ckvm_serve {
  _Atomic uint64_t sequence; // odd while being written
  _Atomic uint64_t first, last; // the generations it served, both inclusive
  _Atomic uint64_t out_ns, handler_ns; // CLOCK_MONOTONIC; handler_ns 0: no handler ran
  _Atomic uint64_t phase;
};
#define CKVM_SERVES 64

struct ckvm_vcpu;

/// A way into the guest, and what keeps a kicked thread from taking it.
struct ckvm_entry {
  /// The last check of the request word's reasons, and KVM_RUN: 0, -errno, or CKVM_ABORTED.
  long (*enter)(int fd, const volatile void *reasons);
  /// What the signal's handler does, on the vCPU's thread; `context` is a ucontext_t. It takes no lock and allocates
  /// nothing. Where the signal is blocked outside KVM_RUN, the handler never runs.
  void (*kicked)(struct ckvm_vcpu *vcpu, void *context);
};

/// What kickers, the vCPU thread and its signal handler share. Lives from before the thread starts until after it is
/// joined and the last kicker has let go of it.
struct ckvm_vcpu {
  /// Kickers and the vCPU thread: generation, reasons, desired state, outstanding and parked, in one word changed by
  /// read-modify-write only. Its low half is a futex word.
  _Atomic uint64_t request;
  char kickers_line[56]; // padding: Swift imports no structure that is aligned to a cache line
  /// The generation served, whether a thread sleeps on it (bit 0), and whether the notifier wants to hear of the next
  /// one (bit 1). Its low half is a futex word.
  _Atomic uint64_t served;
  char waiters_line[56];
  /// The vCPU thread's own from here on; counters are read by others (relaxed).
  struct kvm_run *_Nullable run;
  int fd;
  uint32_t run_size;
  const struct ckvm_entry *entry;
  /// Written by the signal handler, read by the thread it interrupts.
  _Atomic uint64_t handler_ns;
  _Atomic uint64_t exits[CKVM_EXIT_REASONS];
  _Atomic uint64_t eintr_returns; // KVM_RUN returned -EINTR
  _Atomic uint64_t entry_exits; // … of those: the kernel saw immediate_exit and did not enter
  _Atomic uint64_t spurious; // … of those: nothing was requested
  _Atomic uint64_t starts; // KVM_RUN returned -EAGAIN: another vCPU has to start this one, or has just done so
  _Atomic uint64_t run_errors; // KVM_RUN failed with another error
  _Atomic uint64_t serves;
  /// When the thread was last brought out of the guest, and how often in a row since the guest last ran: kickers read
  /// them to leave the guest some time. Hints: they order nothing.
  _Atomic uint64_t last_out_ns;
  _Atomic uint64_t fruitless_kicks;
  struct ckvm_serve ring[CKVM_SERVES];
};

/// `entry` NULL: the shipped one (entry.S, and ckvm_set_immediate_exit).
struct ckvm_vcpu *_Nullable ckvm_vcpu_new(int fd, uint32_t run_size, const struct ckvm_entry *_Nullable entry);
/// Unmaps kvm_run. The thread must have been joined.
void ckvm_vcpu_unmap(struct ckvm_vcpu *vcpu);
void ckvm_vcpu_free(struct ckvm_vcpu *vcpu);

static inline uint64_t ckvm_request_load(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->request, memory_order_acquire);
}
/// Compare and exchange; on failure `*expected` is what was found.
static inline bool ckvm_request_exchange(struct ckvm_vcpu *v, uint64_t *expected, uint64_t desired) {
  return atomic_compare_exchange_weak_explicit(&v->request, expected, desired, memory_order_acq_rel,
                                               memory_order_acquire);
}
/// Clears the bits of `mask`; returns the word as it was.
static inline uint64_t ckvm_request_clear(struct ckvm_vcpu *v, uint64_t mask) {
  return atomic_fetch_and_explicit(&v->request, ~mask, memory_order_acq_rel);
}
static inline const void *ckvm_request_futex(struct ckvm_vcpu *v) { return (const void *)&v->request; }

static inline uint64_t ckvm_served_load(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->served, memory_order_acquire);
}
static inline uint64_t ckvm_served_set_bits(struct ckvm_vcpu *v, uint64_t bits) {
  return atomic_fetch_or_explicit(&v->served, bits, memory_order_acq_rel);
}
static inline uint64_t ckvm_served_publish(struct ckvm_vcpu *v, uint64_t value) {
  return atomic_exchange_explicit(&v->served, value, memory_order_acq_rel);
}
static inline const void *ckvm_served_futex(struct ckvm_vcpu *v) { return (const void *)&v->served; }

/// How often a vCPU's thread had news for the process's notifier: a futex word.
extern _Atomic uint32_t ckvm_news;
/// By a vCPU's thread, after it has published what it served: a notifier that sees the new number sees that, too.
static inline void ckvm_news_add(void) { atomic_fetch_add_explicit(&ckvm_news, 1, memory_order_release); }
/// By the notifier; pairs with ckvm_news_add.
static inline uint32_t ckvm_news_load(void) { return atomic_load_explicit(&ckvm_news, memory_order_acquire); }
static inline const void *ckvm_news_futex(void) { return (const void *)&ckvm_news; }

/// Counts by the only writer of the counter: a plain add, visible to readers of other threads.
static inline void ckvm_bump(_Atomic uint64_t *counter) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}
static inline void ckvm_count_exit(struct ckvm_vcpu *v, uint32_t reason) {
  ckvm_bump(&v->exits[reason < CKVM_EXIT_REASONS ? reason : CKVM_EXIT_REASONS - 1]);
}
static inline void ckvm_count_eintr(struct ckvm_vcpu *v, bool at_entry) {
  ckvm_bump(&v->eintr_returns);
  if (at_entry) ckvm_bump(&v->entry_exits);
}
static inline void ckvm_count_spurious(struct ckvm_vcpu *v) { ckvm_bump(&v->spurious); }
static inline void ckvm_count_start(struct ckvm_vcpu *v) { ckvm_bump(&v->starts); }
static inline uint64_t ckvm_starts(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->starts, memory_order_relaxed);
}
static inline void ckvm_count_run_error(struct ckvm_vcpu *v) { ckvm_bump(&v->run_errors); }
static inline uint64_t ckvm_exits(struct ckvm_vcpu *v, uint32_t reason) {
  return atomic_load_explicit(&v->exits[reason], memory_order_relaxed);
}
static inline uint64_t ckvm_eintr_returns(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->eintr_returns, memory_order_relaxed);
}
static inline uint64_t ckvm_entry_exits(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->entry_exits, memory_order_relaxed);
}
static inline uint64_t ckvm_spurious(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->spurious, memory_order_relaxed);
}
static inline uint64_t ckvm_run_errors(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->run_errors, memory_order_relaxed);
}

static inline void ckvm_note_departure(struct ckvm_vcpu *v, uint64_t out_ns, bool guest_ran) {
  atomic_store_explicit(&v->last_out_ns, out_ns, memory_order_relaxed);
  uint64_t fruitless_kicks = guest_ran ? 0 : atomic_load_explicit(&v->fruitless_kicks, memory_order_relaxed) + 1;
  atomic_store_explicit(&v->fruitless_kicks, fruitless_kicks, memory_order_relaxed);
}
static inline uint64_t ckvm_last_out(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->last_out_ns, memory_order_relaxed);
}
static inline uint64_t ckvm_fruitless_kicks(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->fruitless_kicks, memory_order_relaxed);
}

/// Takes the handler's time stamp away; 0 when no handler ran since the last call.
static inline uint64_t ckvm_take_handler_time(struct ckvm_vcpu *v) {
  return atomic_exchange_explicit(&v->handler_ns, 0, memory_order_relaxed);
}

/// Whether a handler ran since the time stamp was last taken away.
static inline bool ckvm_handler_ran(struct ckvm_vcpu *v) {
  return atomic_load_explicit(&v->handler_ns, memory_order_acquire) != 0;
}

/// Records how generations first … last were served. By the vCPU thread, before it publishes `last` as served.
void ckvm_record_serve(struct ckvm_vcpu *v, uint64_t first, uint64_t last, uint32_t phase, uint64_t out_ns,
                       uint64_t handler_ns);
/// Finds how `generation` was served; false when that was so long ago that it has been overwritten.
bool ckvm_find_serve(struct ckvm_vcpu *v, uint64_t generation, uint32_t *phase, uint64_t *out_ns,
                     uint64_t *handler_ns);

// ---- entering the guest ----------------------------------------------------------------------------------------

/// The entry stub found a request before it entered.
#define CKVM_ABORTED (-4096L)
/// Stands in kvm_run.exit_reason in place of an older KVM_EXIT_INTR: no kernel writes it.
#define CKVM_NOT_WRITTEN 0xffffffffu

/// Before each KVM_RUN: so that after -EINTR the reason is KVM_EXIT_INTR only if this KVM_RUN has written it. Any other old
/// reason may stay, and does: kernels for arm64 read it to complete an access.
static inline void ckvm_forget_interruption(struct ckvm_vcpu *v) {
  if (v->run->exit_reason == KVM_EXIT_INTR) v->run->exit_reason = CKVM_NOT_WRITTEN;
}

/// The last check and KVM_RUN (entry.S): if the request word's reasons are 0, KVM_RUN, else CKVM_ABORTED. Returns 0,
/// -errno, or CKVM_ABORTED.
static inline long ckvm_enter(struct ckvm_vcpu *v) {
  ckvm_forget_interruption(v);
  return v->entry->enter(v->fd, (const volatile char *)&v->request + 1);
}
/// KVM_RUN with immediate_exit set, and cleared after: the kernel does what it has put off until the first KVM_RUN, and
/// returns -EINTR before the guest would run. Whatever the request word says.
long ckvm_enter_in_advance(struct ckvm_vcpu *v);
/// KVM_RUN without running the guest: completes what the last exit left unfinished. Returns -EINTR when nothing is
/// left, 0 when a further access must be served first. `signal` 0: by immediate_exit; else by that signal, which is
/// blocked outside KVM_RUN and sent to the calling thread.
long ckvm_complete(struct ckvm_vcpu *v, int signal);

static inline void ckvm_clear_immediate_exit(struct ckvm_vcpu *v) {
  // The handler stores on this same thread; the store must not sink below the read of the request word that follows,
  // which is an acquire-release read-modify-write of another location.
  __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_RELEASE);
}
static inline uint32_t ckvm_exit_reason(struct ckvm_vcpu *v) { return v->run->exit_reason; }

// ---- exits -----------------------------------------------------------------------------------------------------

struct ckvm_io {
  bool is_write;
  uint8_t size;
  uint16_t port;
  uint32_t count;
};
static inline struct ckvm_io ckvm_exit_io(struct ckvm_vcpu *v) {
  return (struct ckvm_io){v->run->io.direction == KVM_EXIT_IO_OUT, v->run->io.size, v->run->io.port, v->run->io.count};
}
/// The `index`-th datum of a port access. The kernel's own buffer: count * size bytes at data_offset, inside the run
/// mapping. Sizes are spelt out, here and below: a copy of a size unknown to the compiler is a call into the C library.
static inline uint32_t ckvm_io_get(struct ckvm_vcpu *v, uint32_t index) {
  uint8_t size = v->run->io.size;
  const char *datum = (const char *)v->run + v->run->io.data_offset + (size_t)index * size;
  uint8_t byte;
  uint16_t word;
  uint32_t dword;
  switch (size) {
  case 1: memcpy(&byte, datum, 1); return byte;
  case 2: memcpy(&word, datum, 2); return word;
  default: memcpy(&dword, datum, 4); return dword; // there are no others
  }
}
static inline void ckvm_io_set(struct ckvm_vcpu *v, uint32_t index, uint32_t value) {
  uint8_t size = v->run->io.size;
  char *datum = (char *)v->run + v->run->io.data_offset + (size_t)index * size;
  switch (size) {
  case 1: memcpy(datum, &value, 1); return;
  case 2: memcpy(datum, &value, 2); return;
  default: memcpy(datum, &value, 4); return;
  }
}

struct ckvm_mmio {
  bool is_write;
  uint32_t size;
  uint64_t address;
  uint64_t value;
};
static inline struct ckvm_mmio ckvm_exit_mmio(struct ckvm_vcpu *v) {
  struct ckvm_mmio m = {v->run->mmio.is_write, v->run->mmio.len, v->run->mmio.phys_addr, 0};
  memcpy(&m.value, v->run->mmio.data, 8);
  if (m.size < 8) m.value &= (1ull << (8 * m.size)) - 1;
  return m;
}
static inline void ckvm_mmio_set(struct ckvm_vcpu *v, uint64_t value) { memcpy(v->run->mmio.data, &value, 8); }

/// After KVM_EXIT_FAIL_ENTRY or KVM_EXIT_UNKNOWN, whose structures begin alike.
static inline uint64_t ckvm_hardware_reason(struct ckvm_vcpu *v) {
  return v->run->fail_entry.hardware_entry_failure_reason;
}
static inline uint32_t ckvm_internal_suberror(struct ckvm_vcpu *v) { return v->run->internal.suberror; }
/// The bytes of the instruction that KVM could not emulate, if it told them; returns how many (at most 15).
uint32_t ckvm_failed_instruction(struct ckvm_vcpu *v, uint8_t bytes[_Nonnull 15]);
static inline uint32_t ckvm_system_event(struct ckvm_vcpu *v) { return v->run->system_event.type; }

// ---- the kick signal -------------------------------------------------------------------------------------------

/// Marks a function that the signal's handler calls. ThreadSanitizer takes locks of its own where it looks at a function's
/// beginning (no_sanitize does not spare that): locks that the interrupted thread may hold.
#if __has_feature(thread_sanitizer)
#define CKVM_IN_HANDLER __attribute__((disable_sanitizer_instrumentation))
#else
#define CKVM_IN_HANDLER
#endif

/// What the shipped entry's handler does: the kernel then returns from KVM_RUN before it runs the guest.
void ckvm_set_immediate_exit(struct ckvm_vcpu *vcpu, void *context);
/// Installs the handler of the kick signal, once a process.
int ckvm_install_handler(int signal);
/// Blocks the kick signal in the calling thread, and makes `vcpu` the one that the handler acts on when it runs there.
void ckvm_bind_thread(struct ckvm_vcpu *_Nullable vcpu, int signal);
/// Whether the calling thread is bound to a vCPU.
bool ckvm_is_bound(void);
/// Unblocks the kick signal in the calling thread.
void ckvm_unblock(int signal);
/// Consumes a pending kick signal that is blocked. Returns whether there was one.
bool ckvm_drain(int signal);

#pragma clang assume_nonnull end

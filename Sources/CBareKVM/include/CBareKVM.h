// The benchmarks' yardstick: a VM the way one writes it by hand against the kernel's interface. Nothing of the server's
// own KVM code is used here. Functions return -errno on failure.
// Source: Linux Documentation/virt/kvm/api.rst.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// How a vCPU is kicked.
enum barekvm_mechanism {
  BAREKVM_IMMEDIATE_EXIT, // the signal's handler sets kvm_run.immediate_exit
  BAREKVM_SIGNAL_MASK, // KVM_SET_SIGNAL_MASK; blocked outside KVM_RUN
  BAREKVM_IP_FIXUP, // the handler moves a thread that is about to call KVM_RUN past it
  BAREKVM_SIGNAL_ONLY, // a signal and nothing else: loses the kick that lands just before KVM_RUN
};

#define BAREKVM_MAX_VCPUS 8

struct barekvm_host;
struct barekvm_vm;

/// What a VM is made of.
struct barekvm_options {
  const void *code; // copied to 0x10000
  size_t code_size;
  size_t memory_size; // at 0; the first and the fourth GiB are identity-mapped
  int vcpus; // 1 to BAREKVM_MAX_VCPUS
  int ring; // of long mode: 3 (with I/O privilege level 3) or 0
  bool has_irqchip; // the kernel's interrupt controllers: HLT then stays in the kernel
  enum barekvm_mechanism mechanism;
};

/// Opens /dev/kvm and asks it, once, for what every VM needs.
int barekvm_open(struct barekvm_host *_Nullable *_Nonnull host);
void barekvm_close(struct barekvm_host *host);

/// Makes a VM. The threads of its vCPUs are parked.
int barekvm_create(struct barekvm_host *host, const struct barekvm_options *options,
                   struct barekvm_vm *_Nullable *_Nonnull vm);
/// Ends the threads, closes the descriptors and unmaps the memory.
void barekvm_destroy(struct barekvm_vm *vm);

/// Lets the vCPUs run the guest. Does not wait.
int barekvm_run(struct barekvm_vm *vm);
/// Takes the vCPUs out of the guest and waits until their threads are parked: for ten seconds, then -ETIMEDOUT.
int barekvm_park(struct barekvm_vm *vm);

/// The same without waiting.
int barekvm_ask_to_park(struct barekvm_vm *vm);

struct barekvm_kick {
  uint64_t generation;
  uint64_t signal_ns; // from the request to the signal's handler; 0 where none ran for it
  uint64_t latency_ns; // from the request to KVM_RUN having returned; an upper bound if others kicked meanwhile
};
/// Kicks a vCPU out of KVM_RUN, waits until it has acknowledged and lets it go on. From any thread. Returns -ETIMEDOUT
/// when there is no acknowledgement for `patience_ns`.
int barekvm_kick(struct barekvm_vm *vm, int vcpu, uint64_t patience_ns, struct barekvm_kick *kick);
/// Kicks every vCPU, all before it waits for the first; `patience_ns` is for all of them.
int barekvm_kick_all(struct barekvm_vm *vm, uint64_t patience_ns);

/// Exits to user space that were served, of whatever kind; kicks are none. Of all vCPUs.
uint64_t barekvm_exits(struct barekvm_vm *vm);
/// The kernel's exit reason, or -errno, that made a vCPU stop of itself; 0 while nothing did.
int barekvm_stopped(struct barekvm_vm *vm);
/// The VM's memory.
const void *barekvm_memory(struct barekvm_vm *vm);

/// A VM as it stood still, for clones of it.
struct barekvm_template;
/// Freezes a VM of one vCPU that has never run and has no interrupt controllers: its memory becomes a sealed file.
int barekvm_freeze(struct barekvm_host *host, struct barekvm_vm *vm,
                   struct barekvm_template *_Nullable *_Nonnull template);
void barekvm_free_template(struct barekvm_template *template);
/// Makes a VM of a template, which must outlive it. The thread of its vCPU is parked.
int barekvm_clone(struct barekvm_host *host, struct barekvm_template *template, enum barekvm_mechanism mechanism,
                  struct barekvm_vm *_Nullable *_Nonnull vm);
/// Waits until the guest of a running VM has ended by a write to port 0xF4: for ten seconds, then -ETIMEDOUT.
int barekvm_await_end(struct barekvm_vm *vm);
/// Puts a clone whose guest has ended back to its template, on the calling thread. Returns how many pages it copied.
int barekvm_reset(struct barekvm_vm *vm, struct barekvm_template *template);

/// The code of a guest that writes a byte to each of so many pages from 1 MiB on, and ends. How many stands in its last four
/// bytes.
const void *barekvm_touch_code(size_t *size);

/// The numbers of the processors that the calling thread may use, at most `capacity`; returns how many it wrote.
int barekvm_processors(int *numbers, int capacity);
/// Restricts the calling thread, and those that it creates from now on, to these processors.
int barekvm_use_processors(const int *numbers, int count);

#pragma clang assume_nonnull end

// The benchmarks' yardstick: a VM of one vCPU the way one writes it by hand against the kernel's interface. Nothing of
// the server's own KVM code is used here. Functions return -errno on failure.
// Source: Linux Documentation/virt/kvm/api.rst.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// How the vCPU is kicked.
enum barekvm_mechanism {
  BAREKVM_IMMEDIATE_EXIT, // the signal's handler sets kvm_run.immediate_exit
  BAREKVM_SIGNAL_MASK, // KVM_SET_SIGNAL_MASK; blocked outside KVM_RUN
};

struct barekvm_host;
struct barekvm_vm;

/// Opens /dev/kvm and asks it, once, for what every VM needs.
int barekvm_open(struct barekvm_host *_Nullable *_Nonnull host);
void barekvm_close(struct barekvm_host *host);

/// A VM with `memory_size` bytes of memory at 0, the first and the fourth GiB identity-mapped, and `code` at 0x10000,
/// to be run in ring 3 of long mode with I/O privilege level 3. Its thread is parked.
int barekvm_create(struct barekvm_host *host, const void *code, size_t code_size, size_t memory_size,
                   enum barekvm_mechanism mechanism, struct barekvm_vm *_Nullable *_Nonnull vm);
/// Ends the thread, closes the descriptors and unmaps the memory.
void barekvm_destroy(struct barekvm_vm *vm);

/// Lets the vCPU run the guest. Does not wait.
void barekvm_run(struct barekvm_vm *vm);
/// Takes the vCPU out of the guest and waits until its thread is parked. Returns -ETIMEDOUT if it is not in a second.
int barekvm_park(struct barekvm_vm *vm);

struct barekvm_kick {
  uint64_t generation;
  uint64_t latency_ns; // from the request to KVM_RUN having returned
  uint64_t call_ns; // from the request to the caller having seen the acknowledgement
};
/// Kicks the vCPU out of KVM_RUN, waits until it has acknowledged and lets it go on. By one thread at a time. Returns
/// -ETIMEDOUT when there is no acknowledgement for a second.
int barekvm_kick(struct barekvm_vm *vm, struct barekvm_kick *kick);

/// Exits to user space that were served, of whatever kind; kicks are none.
uint64_t barekvm_exits(struct barekvm_vm *vm);
/// The kernel's exit reason, or -errno, that made the vCPU stop of itself; 0 while nothing did.
int barekvm_stopped(struct barekvm_vm *vm);
/// The VM's memory.
const void *barekvm_memory(struct barekvm_vm *vm);

/// The numbers of the processors that the calling thread may use, at most `capacity`; returns how many it wrote.
int barekvm_processors(int *numbers, int capacity);
/// Restricts the calling thread, and those that it creates from now on, to these processors.
int barekvm_use_processors(const int *numbers, int count);

#pragma clang assume_nonnull end

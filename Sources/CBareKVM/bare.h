#pragma once
#define _GNU_SOURCE
#include "CBareKVM.h"
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

struct barekvm_host {
  int kvm;
  int run_size;
  struct kvm_cpuid2 *cpuid;
};

struct barekvm_vcpu {
  int fd;
  struct kvm_run *run;
  enum barekvm_mechanism mechanism;
  bool has_thread;
  pthread_t thread;
  _Atomic uint32_t goal;
  _Atomic uint32_t requested; // generation of the newest request; futex word on which the parked thread sleeps
  _Atomic bool parked;
  _Atomic uint32_t served; // futex word on which kickers sleep
  _Atomic uint64_t out_ns, signalled_ns; // written before `served`
  _Atomic uint64_t handler_ns; // written by the handler, read by the thread it interrupts
  volatile unsigned char kicked; // likewise; for the mechanisms without kvm_run.immediate_exit
  _Atomic uint64_t exits; // written by the thread alone
  _Atomic int stopped;
};

struct barekvm_vm {
  int fd;
  char *memory;
  size_t memory_size, run_size;
  uint64_t *dirty; // of a clone: room for the log of the pages that its guest writes
  int vcpus;
  struct barekvm_vcpu vcpu[BAREKVM_MAX_VCPUS];
};

/// A VM with `vm->memory` as its memory; `slot_flags` are those of KVM_SET_USER_MEMORY_REGION.
int barekvm_create_vm(struct barekvm_host *host, struct barekvm_vm *vm, bool has_irqchip, uint32_t slot_flags);
/// One more vCPU, without registers and without a thread.
int barekvm_create_vcpu(struct barekvm_host *host, struct barekvm_vm *vm, enum barekvm_mechanism mechanism);

int barekvm_install_handler(void);
int barekvm_start_thread(struct barekvm_vcpu *vcpu);
void barekvm_end_thread(struct barekvm_vcpu *vcpu);
/// Makes a vCPU whose guest has ended one that has not been started.
void barekvm_forget_end(struct barekvm_vcpu *vcpu);

/// ioctl(fd, KVM_RUN, 0) unless `*kicked`; returns -errno on failure, and -EINTR if it was not called.
long barekvm_enter(int fd, const volatile unsigned char *kicked);
/// From the last look at `*kicked` to the system call, and where to go on without it.
extern const char barekvm_window[], barekvm_syscall[], barekvm_aborted[];
/// The guest in touch.S.
extern const char barekvm_touch[], barekvm_touch_end[];

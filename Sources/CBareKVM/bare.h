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

struct barekvm_vm {
  int vm, vcpu;
  char *memory;
  size_t memory_size;
  struct kvm_run *run;
  size_t run_size;
  enum barekvm_mechanism mechanism;
  bool has_thread;
  pthread_t thread;
  _Atomic uint32_t goal; // futex word on which the parked thread sleeps
  _Atomic uint32_t requested; // generation of the newest request
  _Atomic uint32_t served; // futex word on which the kicker sleeps
  uint64_t out_ns; // written before `served`
  _Atomic uint64_t exits; // written by the thread alone
  _Atomic int stopped;
};

int barekvm_install_handler(void);
int barekvm_start_thread(struct barekvm_vm *vm);
void barekvm_end_thread(struct barekvm_vm *vm);

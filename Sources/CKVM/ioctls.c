#include "CKVM.h"
#include "result.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int ckvm_open(const char *path) { return result(open(path, O_RDWR | O_CLOEXEC)); }

int ckvm_get_api_version(int kvm) { return result(ioctl(kvm, KVM_GET_API_VERSION, 0)); }

int ckvm_check_extension(int fd, uint32_t capability) {
  return result(ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)capability));
}

int ckvm_vcpu_mmap_size(int kvm) { return result(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)); }

int ckvm_create_vm(int kvm) { return result(ioctl(kvm, KVM_CREATE_VM, 0)); }

int ckvm_create_vcpu(int vm, uint32_t index) { return result(ioctl(vm, KVM_CREATE_VCPU, (unsigned long)index)); }

int ckvm_create_irqchip(int vm) { return result(ioctl(vm, KVM_CREATE_IRQCHIP, 0)); }

int ckvm_connect_interrupt(int vm, int event, uint32_t gsi) {
  struct kvm_irqfd connection = {.fd = (uint32_t)event, .gsi = gsi};
  return result(ioctl(vm, KVM_IRQFD, &connection));
}

int ckvm_make_runnable(int vcpu) {
  struct kvm_mp_state state = {.mp_state = KVM_MP_STATE_RUNNABLE};
  return result(ioctl(vcpu, KVM_SET_MP_STATE, &state));
}

int ckvm_set_memory(int vm, uint32_t slot, uint32_t flags, uint64_t guest, uint64_t size, void *host) {
  struct kvm_userspace_memory_region region = {
      .slot = slot, .flags = flags, .guest_phys_addr = guest, .memory_size = size, .userspace_addr = (uintptr_t)host};
  return result(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
}

int ckvm_stats_fd(int fd) { return result(ioctl(fd, KVM_GET_STATS_FD, 0)); }

int ckvm_unblock_in_run(int vcpu, int signal) {
  sigset_t mask;
  int r = pthread_sigmask(SIG_BLOCK, NULL, &mask);
  if (r) return -r;
  sigdelset(&mask, signal);
  // The kernel's signal set is 8 bytes; the C library's is longer and begins with them.
  struct kvm_signal_mask *argument = calloc(1, sizeof *argument + 8);
  if (!argument) return -ENOMEM;
  argument->len = 8;
  memcpy(argument->sigset, &mask, 8);
  r = result(ioctl(vcpu, KVM_SET_SIGNAL_MASK, argument));
  free(argument);
  return r;
}

int ckvm_dirty_log(int vm, uint32_t slot, uint64_t *bitmap) {
  struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};
  return result(ioctl(vm, KVM_GET_DIRTY_LOG, &log));
}

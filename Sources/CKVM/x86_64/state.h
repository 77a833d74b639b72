// What KVM keeps of a vCPU and of a VM, to be read and put back. Functions return -errno on failure.
// Source: Linux Documentation/virt/kvm/api.rst.
#pragma once
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// One structure of a vCPU's state, in the order in which they are put back. MSRs stand beside them.
enum ckvm_vcpu_part {
  CKVM_SREGS2,       ///< segments, control registers, EFER, APIC base, PDPTRs
  CKVM_SREGS,        ///< the same, of kernels without KVM_CAP_SREGS2
  CKVM_XCRS,         ///< which states XSAVE keeps: before these
  CKVM_XSAVE,        ///< x87, SSE, AVX and what else XCR0 names; of KVM_CAP_XSAVE2's size
  CKVM_DEBUG_REGS,
  CKVM_REGS,
  CKVM_LAPIC,        ///< VMs with the kernel's interrupt controllers
  CKVM_MP_STATE,
  CKVM_EVENTS,       ///< exceptions, interrupts and NMIs that are pending or blocked: last
};
/// Bytes of a part. `xsave`: what KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2) says of the VM, 0 where it says nothing.
size_t ckvm_vcpu_part_size(enum ckvm_vcpu_part part, size_t xsave);
int ckvm_get_vcpu_part(int vcpu, enum ckvm_vcpu_part part, void *bytes, size_t xsave);
int ckvm_set_vcpu_part(int vcpu, enum ckvm_vcpu_part part, const void *bytes);

/// One structure of a VM's state.
enum ckvm_vm_part {
  CKVM_PIC_MASTER,
  CKVM_PIC_SLAVE,
  CKVM_IO_APIC,
  CKVM_PIT,
  CKVM_CLOCK,        ///< kvmclock's time
};
size_t ckvm_vm_part_size(enum ckvm_vm_part part);
int ckvm_get_vm_part(int vm, enum ckvm_vm_part part, void *bytes);
int ckvm_set_vm_part(int vm, enum ckvm_vm_part part, const void *bytes);

/// KVM_GET_MSR_INDEX_LIST: fills up to `capacity` indices; returns how many there are.
int ckvm_msr_indices(int kvm, uint32_t *indices, uint32_t capacity);
/// KVM_GET_MSRS of the entries that follow entries[0], whose second half is the structure's head: how many there are.
/// Returns how many were read before the first that could not be.
int ckvm_get_msrs(int vcpu, struct kvm_msr_entry *entries);
/// KVM_SET_MSRS, likewise.
int ckvm_set_msrs(int vcpu, const struct kvm_msr_entry *entries);

/// CR8 of a VM without the kernel's interrupt controllers: each KVM_RUN loads it from here and stores it here.
static inline uint64_t ckvm_task_priority(const struct kvm_run *run) { return run->cr8; }
static inline void ckvm_set_task_priority(struct kvm_run *run, uint64_t priority) { run->cr8 = priority; }

#pragma clang assume_nonnull end

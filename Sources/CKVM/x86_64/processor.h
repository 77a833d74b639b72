// What is particular to x86-64: ioctls, an instruction, and the return from a signal.
#pragma once
#include <linux/kvm.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

int ckvm_set_tss_address(int vm, uint64_t address);
/// KVM_CREATE_PIT2, with the speaker's port.
int ckvm_create_pit(int vm);
/// KVM_SET_GSI_ROUTING, as on a PC: interrupt 0, the timer, goes to pin 2 of the I/O APIC, all others to their own.
int ckvm_route_interrupts(int vm);
/// KVM_KVMCLOCK_CTRL: has KVM mark in the guest's kvmclock that the guest stood still. Fails with EINVAL where the guest
/// does not use kvmclock.
int ckvm_kvmclock_ctrl(int vcpu);
/// Fills up to `capacity` entries; returns how many there are.
int ckvm_supported_cpuid(int kvm, struct kvm_cpuid_entry2 *entries, uint32_t capacity);
int ckvm_set_cpuid(int vcpu, const struct kvm_cpuid_entry2 *entries, uint32_t count);
int ckvm_get_regs(int vcpu, struct kvm_regs *regs);
int ckvm_set_regs(int vcpu, const struct kvm_regs *regs);
int ckvm_get_sregs(int vcpu, struct kvm_sregs *sregs);
int ckvm_set_sregs(int vcpu, const struct kvm_sregs *sregs);
/// KVM_TRANSLATE: the guest-physical address of a linear one; UINT64_MAX where there is none.
uint64_t ckvm_translate(int vcpu, uint64_t linear);
int ckvm_get_tsc_khz(int vcpu);
/// KVM_SET_MSRS, one: fails with EINVAL where the kernel refuses it.
int ckvm_set_msr(int vcpu, uint32_t index, uint64_t value);

/// rt_sigreturn, with which a signal's handler returns.
#define CKVM_RETURN_FROM_SIGNAL "mov $15, %eax\n\tsyscall\n"

/// Has the processor spend little while this thread waits for another thread's store.
static inline void ckvm_relax(void) { __builtin_ia32_pause(); }

#pragma clang assume_nonnull end

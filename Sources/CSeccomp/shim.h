// libseccomp, its macros that Swift does not see, and the numbers that the rules name.
#pragma once
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

static const uint32_t cseccomp_allow = SCMP_ACT_ALLOW;
static const uint32_t cseccomp_kill_process = SCMP_ACT_KILL_PROCESS;

/// The call fails with `error`.
static inline uint32_t cseccomp_fail(uint16_t error) { return SCMP_ACT_ERRNO(error); }

/// Argument `number`, as far as `mask` goes, is `value`.
static inline struct scmp_arg_cmp cseccomp_masked(unsigned number, uint64_t mask, uint64_t value) {
  return (struct scmp_arg_cmp){.arg = number, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

// What a vCPU's thread asks of KVM. The numbers are macros that Swift does not import. Source: linux/kvm.h.
static const uint64_t cseccomp_vcpu_requests[] = {
    // Running the guest, and which signal ends that.
    KVM_RUN, KVM_SET_SIGNAL_MASK,
    // Counting its exits.
    KVM_GET_STATS_FD,
    // Telling its clock of a pause.
    KVM_KVMCLOCK_CTRL,
    // Reading the registers of a guest that stands still: for a client, for a template, after a crash.
    KVM_GET_REGS, KVM_GET_MP_STATE, KVM_GET_VCPU_EVENTS,
#if defined(__x86_64__)
    KVM_GET_SREGS, KVM_GET_SREGS2, KVM_GET_XCRS, KVM_GET_XSAVE, KVM_GET_XSAVE2, KVM_GET_DEBUGREGS, KVM_GET_LAPIC,
    KVM_GET_MSRS, KVM_TRANSLATE,
#endif
};

static inline size_t cseccomp_vcpu_request_count(void) {
  return sizeof cseccomp_vcpu_requests / sizeof *cseccomp_vcpu_requests;
}
static inline uint64_t cseccomp_vcpu_request(size_t index) { return cseccomp_vcpu_requests[index]; }

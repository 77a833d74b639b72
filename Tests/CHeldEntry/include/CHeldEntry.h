// Ways into the guest, and system calls, that tests can hold up or let fail at a chosen place. For tests alone; what is
// shipped has none of it.
#pragma once
#include "CComparedKicks.h"

#pragma clang assume_nonnull begin

// ---- held.S: the entry window ----------------------------------------------------------------------------------

/// As the shipped entry, but can hold the vCPU's thread exactly where a kick is lost if only a signal is sent: past its
/// last check of the request word, before KVM_RUN.
const struct ckvm_entry *held_entry(void);
/// The same with the handlers of ip_fixup and signal_only.
const struct ckvm_entry *held_ip_fixup_entry(void);
const struct ckvm_entry *held_signal_only_entry(void);
/// Holds every thread that passes its last check from now on.
void held_entry_hold(void);
/// Lets them go on into KVM_RUN.
void held_entry_release(void);
/// Whether a thread stands in the window now.
bool held_entry_is_holding(void);

// ---- clear.c: between taking the flag away and taking the requests ---------------------------------------------

/// As the shipped entry, but without the last check of the request word, which would save what a wrong order of the two
/// loses; and its threads can be held where they take the flag away (`immediate_exit`) or drain the signal (`signal_mask`).
/// One vCPU at a time.
const struct ckvm_entry *blind_entry(void);
/// Holds the thread of `vcpu` when it has next left KVM_RUN: at the store that clears immediate_exit, or before it drains
/// the signal.
void clear_hold(struct ckvm_vcpu *vcpu, bool at_clearing_store);
/// Lets it go on.
void clear_release(void);
/// Whether it stands there now.
bool clear_is_holding(void);

// ---- faults.c: what a kernel may answer ------------------------------------------------------------------------

/// As the shipped entry, but the next KVM_RUNs of all its vCPUs fail.
const struct ckvm_entry *failing_entry(void);
/// How many, and with which error.
void failing_entry_set(int error, uint32_t times);
/// The next KVM_RUNs of `vcpu`, so many, return with this exit reason, its guest not having run. Once it has run before.
void failing_entry_exit(struct ckvm_vcpu *vcpu, uint32_t reason, uint32_t times);
/// As the shipped entry on a kernel that makes a thread in a VM's first KVM_RUN and lacks commit 916b7f42b3b3, with a
/// kick just then: if the kick signal can get through, that KVM_RUN and all that follow fail with ENOMEM. For VMs of one
/// vCPU.
const struct ckvm_entry *forgetful_entry(void);

/// KVM_CREATE_VM by the calling thread fails so many times from now on.
void fail_create_vm(int error, uint32_t times);
/// How many of those failures are still to come.
uint32_t create_vm_failures_left(void);
/// KVM_KVMCLOCK_CTRL is counted from now on, and answered with this error (0: with success). In a process of the test's
/// own.
void answer_kvmclock_ctrl(int error);
/// How many there were.
uint32_t kvmclock_ctrls(void);
/// pthread_kill by the calling thread fails so many times from now on.
void fail_pthread_kill(int error, uint32_t times);
/// pthread_kill by any thread fails from now on, until this is called with 0. In a process of the test's own.
void fail_every_pthread_kill(int error);

/// Counts the signals that are sent to `thread` from now on.
void watch_signals(pthread_t thread);
/// How many there were.
uint64_t watched_signals(void);

#pragma clang assume_nonnull end

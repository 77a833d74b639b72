// Ways to take a thread out of KVM_RUN that no pool can have: benchmarks and tests compare the server's own with them.
#pragma once
#include "CKVM.h"

#pragma clang assume_nonnull begin

/// An entry whose window has known places: from `window` up to and including the instruction at `syscall`, the last check
/// is past and KVM_RUN is not yet called.
struct windowed_entry {
  struct ckvm_entry entry; // first, so that the handler finds the rest behind it
  const void *window, *syscall, *aborted;
};

/// `ip_fixup`: the shipped stub, whose handler is ip_fixup_kicked.
const struct ckvm_entry *ip_fixup_entry(void);
/// `signal_only`: the shipped stub, whose handler is signal_only_kicked.
const struct ckvm_entry *signal_only_entry(void);

/// Moves a thread that stands in the window to `aborted`. The vCPU's entry must be that of a windowed_entry.
void ip_fixup_kicked(struct ckvm_vcpu *vcpu, void *context);
/// Does nothing, so that a signal in the window is lost.
void signal_only_kicked(struct ckvm_vcpu *vcpu, void *context);

#pragma clang assume_nonnull end

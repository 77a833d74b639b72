// A way into the guest that can hold the vCPU's thread exactly where a kick is lost if only a signal is sent: past its
// last check of the request word, before KVM_RUN. For tests alone; the shipped entry has none of it.
#pragma once
#include "CKVM.h"

#pragma clang assume_nonnull begin

/// The entry to give to the vCPU under test.
const struct ckvm_entry *held_entry(void);
/// Holds every thread that passes its last check from now on.
void held_entry_hold(void);
/// Lets them go on into KVM_RUN.
void held_entry_release(void);
/// Whether a thread stands in the window now.
bool held_entry_is_holding(void);

#pragma clang assume_nonnull end

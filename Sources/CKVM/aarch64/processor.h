// What is particular to arm64, as far as the rest of CKVM needs it.
#pragma once

/// rt_sigreturn, with which a signal's handler returns.
#define CKVM_RETURN_FROM_SIGNAL "mov x8, #139\n\tsvc #0\n"

/// Has the processor spend little while this thread waits for another thread's store.
static inline void ckvm_relax(void) { __builtin_arm_yield(); }

// What is particular to arm64, as far as the rest of CKVM needs it.
#pragma once

/// Has the processor spend little while this thread waits for another thread's store.
static inline void ckvm_relax(void) { __builtin_arm_yield(); }

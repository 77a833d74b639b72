// What is particular to arm64, as far as the rest of CKVM needs it.
#pragma once

/// Tells the processor that this thread only waits for another one's store.
static inline void ckvm_relax(void) { __builtin_arm_yield(); }

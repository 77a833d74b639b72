// The built-in guests' machine code. They run in 64-bit mode, entered at their first byte with RDI = index of the
// vCPU and RSP = top of a small private stack; all but `halt` run in ring 3 with I/O privilege level 3.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Machine code in the program's read-only data: valid for ever.
typedef struct {
  const uint8_t *_Nonnull code;
  size_t size;
} cguests_blob;

cguests_blob cguests_spin(void);
cguests_blob cguests_pio(void);
cguests_blob cguests_mmio(void);
cguests_blob cguests_halt(void);
cguests_blob cguests_hello(void);
cguests_blob cguests_echo(void);

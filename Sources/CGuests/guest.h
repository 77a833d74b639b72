// A guest is position-independent x86-64 code, data included, between two symbols in read-only data.
#define GUEST_BEGIN(name)               \
  .section .rodata;                     \
  .balign 16;                           \
  .globl cguests_##name##_start;        \
  .hidden cguests_##name##_start;       \
  cguests_##name##_start:

#define GUEST_END(name)                 \
  .globl cguests_##name##_end;          \
  .hidden cguests_##name##_end;         \
  cguests_##name##_end:                 \
  .section .note.GNU-stack, "", @progbits

// COM1's data and line status registers, and the bits of the latter.
#define DATA 0x3F8
#define LSR 0x3FD
#define LSR_DATA_READY 0x01
#define LSR_TRANSMIT_EMPTY 0x20

#define DEBUG_EXIT 0xF4

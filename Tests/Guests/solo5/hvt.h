// What a Solo5 unikernel for the hvt tender sees, ABI version 2: the numbers and layouts of Solo5's public headers
// hvt_abi.h, elf_abi.h and mft_abi.h. For guests of the tests.
#pragma once
#include <stdint.h>

enum call { WALLTIME = 1, PUTS, POLL, BLOCK_WRITE, BLOCK_READ, NET_WRITE, NET_READ, HALT };

struct boot_info {
  uint64_t memory, kernel_end, frequency, command_line, manifest, network[3];
};

static inline void hypercall(unsigned number, volatile void *argument) {
  __asm__ volatile("outl %0, %1" ::"a"((uint32_t)(uintptr_t)argument), "d"((uint16_t)(0x500 + number)) : "memory");
}

struct entry {
  char name[68];
  uint32_t type;
  uint64_t capacity;
  uint64_t block_size;
  uint64_t backing;
  uint64_t attached;
};

struct interface_note {
  uint32_t owner_bytes, bytes, type;
  char owner[8];
  uint32_t target, version, reserved[2];
};
#define INTERFACE_NOTE                                                                                                 \
  __attribute__((section(".note.abi"), aligned(4), used)) static const struct interface_note interface = {                         \
      6, 16, 0x31494241, "Solo5", 1, 2, {0, 0}}

/// A manifest with `DEVICES` devices; its first entry is `RESERVED`.
struct __attribute__((packed, aligned(4))) manifest_note {
  uint32_t owner_bytes, bytes, type;
  char owner[8];
  uint32_t padding, version, entries;
  struct entry entry[DEVICES + 1];
};
#define RESERVED {.type = 1u << 30}
#define MANIFEST_NOTE                                                                                                  \
  __attribute__((section(".note.manifest"), aligned(4), used)) static const struct manifest_note manifest
#define MANIFEST_HEAD 6, 12 + (DEVICES + 1) * sizeof(struct entry), 0x3154464d, "Solo5", 0, 1, DEVICES + 1

static inline uint64_t length_of(const char *text) {
  uint64_t length = 0;
  while (text[length]) length++;
  return length;
}

static inline void print(const char *text) {
  volatile struct {
    uint64_t data, length;
  } argument = {(uintptr_t)text, length_of(text)};
  hypercall(PUTS, &argument);
}

static inline void print_hex(uint64_t number) {
  char text[19] = "0x";
  for (int digit = 0; digit < 16; digit++) text[2 + digit] = "0123456789abcdef"[number >> (60 - 4 * digit) & 15];
  text[18] = 0;
  print(text);
}

static inline void halt(uint32_t status) {
  volatile struct {
    uint64_t cookie;
    uint32_t status;
  } argument = {0, status};
  hypercall(HALT, &argument);
}

// Writes one byte to every 4 KiB of its disk, in the dearest way to keep it, prints how many writes were kept, and sleeps.
#define DEVICES 1
#include "hvt.h"

INTERFACE_NOTE;
MANIFEST_NOTE = {MANIFEST_HEAD, {RESERVED, {.name = "disk", .type = 1}}};

enum { handle, offset, data, length, status };
static volatile uint64_t argument[5];

__attribute__((section(".text.start"))) void start(const struct boot_info *info) {
  uint64_t kept = 0;
  for (uint64_t at = 0; at < 64u << 20; at += 4096) {
    argument[handle] = 1;
    argument[offset] = at;
    argument[data] = info->manifest;
    argument[length] = 1;
    hypercall(BLOCK_WRITE, argument);
    if ((uint32_t)argument[status] == 0) kept++;
  }
  print("kept ");
  print_hex(kept);
  print("\n");
  argument[0] = 600000000000ull;
  hypercall(POLL, argument);
  halt(0);
}

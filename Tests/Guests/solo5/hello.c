// Prints its command line and what it was told of its memory, looks at the clock, and exits with status 0.
#define DEVICES 0
#include "hvt.h"

INTERFACE_NOTE;
MANIFEST_NOTE = {MANIFEST_HEAD, {RESERVED}};

__attribute__((section(".text.start"))) void start(const struct boot_info *info) {
  volatile uint64_t now = 0;
  print("Hello, ");
  print((const char *)info->command_line);
  print("!\nmemory ");
  print_hex(info->memory);
  print("\nend ");
  print_hex(info->kernel_end);
  hypercall(WALLTIME, &now);
  print(now > 1700000000000000000u && info->frequency > 100000000 ? "\nclocks run\n" : "\nno clocks\n");
  halt(0);
}

// Does what its command line says, word by word, each a letter and hexadecimal numbers separated by
// commas, with spaces between words:
//
//   w ADDRESS,VALUE     writes 64 bits
//   r ADDRESS           prints 64 bits
//   o PORT,VALUE        writes 32 bits to a port
//   b PORT,VALUE        writes 8 bits to a port
//   i PORT              prints 32 bits from a port
//   c CALL,A,B,C,D      makes a hypercall with a structure of those words, and prints its five words after it
//   m                   maps the first and the fourth GiB, all to be written, with page tables of its own, and uses them
//   g SEED,TURNS        writes garbage to random ports, hypercalls and addresses
//   x NUMBER            executes an instruction: 0 UD2, 1 HLT, 2 CMPXCHG16B
//   l                   loops for ever
//   h STATUS            halts
#define DEVICES 1
#include "hvt.h"

INTERFACE_NOTE;
MANIFEST_NOTE = {MANIFEST_HEAD, {RESERVED, {.name = "disk", .type = 1}}};

static volatile uint64_t argument[8];

static uint64_t number(const char **text) {
  uint64_t value = 0;
  for (;; (*text)++) {
    char c = **text;
    if (c >= '0' && c <= '9')
      value = value << 4 | (uint64_t)(c - '0');
    else if (c >= 'a' && c <= 'f')
      value = value << 4 | (uint64_t)(c - 'a' + 10);
    else
      break;
  }
  if (**text == ',') (*text)++;
  return value;
}

static void show(uint64_t value) {
  print_hex(value);
  print("\n");
}

static void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" ::"a"(value), "d"(port) : "memory"); }
static void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" ::"a"(value), "d"(port)); }
static uint32_t in32(uint16_t port) {
  uint32_t value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "d"(port));
  return value;
}

/// Tables at 0x180000: large pages, to be written by all.
static void map(void) {
  volatile uint64_t *root = (volatile uint64_t *)0x180000;
  for (unsigned index = 0; index < 4 * 512; index++) root[index] = 0;
  root[0] = 0x181000 | 7;
  root[512] = 0x182000 | 7;
  root[512 + 3] = 0x183000 | 7;
  for (uint64_t index = 0; index < 512; index++) {
    root[1024 + index] = index << 21 | 0x87;
    root[1536 + index] = (0xC0000000u + (index << 21)) | 0x87;
  }
  __asm__ volatile("mov %0, %%cr3" ::"r"((uint64_t)0x180000) : "memory");
}

static uint64_t random_state;
static uint64_t random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/// An address, inside of memory, about its end, or anywhere.
static uint64_t somewhere(void) {
  switch (random() & 3) {
  case 0: return 0x190000 + (random() & 0xFFFF);
  case 1: return 0x200000 - 64 + (random() & 127);
  case 2: return random() & 0xFFFFFFFF;
  default: return random();
  }
}

static void garbage(uint64_t turns) {
  map();
  for (uint64_t turn = 0; turn < turns; turn++) {
    switch (random() & 7) {
    case 0: out32((uint16_t)random(), (uint32_t)random()); break;
    case 1: out8((uint16_t)random(), (uint8_t)random()); break;
    case 2: in32((uint16_t)random()); break;
    case 3: *(volatile uint64_t *)(0xC0000000u + (random() & 0x3FFFFFF8)) = random(); break;
    case 4: (void)*(volatile uint64_t *)(0xC0000000u + (random() & 0x3FFFFFF8)); break;
    default:
      for (int word = 0; word < 5; word++) argument[word] = random() & 1 ? somewhere() : random() & 0xFFFF;
      // Most with a structure of its own: the others end the guest soon. It does not halt, nor sleep for long.
      argument[0] = random() & 1 ? 1 : argument[0] & 0xFFFFF;
      hypercall((unsigned)(1 + random() % 7), random() & 15 ? argument : (void *)(uintptr_t)somewhere());
    }
  }
}

__attribute__((section(".text.start"))) void start(const struct boot_info *info) {
  const char *text = (const char *)info->command_line;
  while (*text) {
    char what = *text++;
    if (what == ' ') continue;
    uint64_t address = number(&text);
    switch (what) {
    case 'w': *(volatile uint64_t *)address = number(&text); break;
    case 'r': show(*(volatile uint64_t *)address); break;
    case 'o': out32((uint16_t)address, (uint32_t)number(&text)); break;
    case 'b': out8((uint16_t)address, (uint8_t)number(&text)); break;
    case 'i': show(in32((uint16_t)address)); break;
    case 'c':
      for (int word = 0; word < 4; word++) argument[word] = number(&text);
      argument[4] = ~0ull;
      hypercall((unsigned)address, argument);
      for (int word = 0; word < 5; word++) show(argument[word]);
      break;
    case 'm': map(); break;
    case 'g':
      random_state = address | 1;
      garbage(number(&text));
      break;
    case 'x':
      if (address == 0) __asm__ volatile("ud2");
      if (address == 1) __asm__ volatile("hlt");
      if (address == 2) __asm__ volatile("lock cmpxchg16b %0" : "+m"(*(volatile __int128 *)argument)::"rax", "rdx");
      break;
    case 'l':
      for (;;) __asm__ volatile("pause");
    case 'h': halt((uint32_t)address);
    }
  }
  print("done\n");
  halt(0);
}

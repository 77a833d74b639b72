// Busy loop: only a kick gets it out. RAX counts, so that progress shows in the registers.
#include "guest.h"
GUEST_BEGIN(spin)
  xorl %eax, %eax
1:
  incq %rax
  jmp 1b
GUEST_END(spin)

// Exit storm: endless 4-byte stores to guest-physical 0xD0000000, where there is no memory. RBX counts them.
#include "guest.h"
GUEST_BEGIN(mmio)
  xorl %ebx, %ebx
  movl $0xD0000000, %edx
1:
  movl %ebx, (%rdx)
  incq %rbx
  jmp 1b
GUEST_END(mmio)

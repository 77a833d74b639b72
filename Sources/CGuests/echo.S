// Writes back each byte it receives on COM1. Ctrl-D, which is not written back, exits with code 0.
#include "guest.h"
#define CTRL_D 0x04
GUEST_BEGIN(echo)
next:
  movl $LSR, %edx
1:
  inb %dx, %al
  testb $LSR_DATA_READY, %al
  jz 1b
  movl $DATA, %edx
  inb %dx, %al
  cmpb $CTRL_D, %al
  je done
  movl %eax, %ebx
  movl $LSR, %edx
2:
  inb %dx, %al
  testb $LSR_TRANSMIT_EMPTY, %al
  jz 2b
  movl $DATA, %edx
  movl %ebx, %eax
  outb %al, %dx
  jmp next
done:
  xorl %eax, %eax
  outb %al, $DEBUG_EXIT
3:
  pause
  jmp 3b
GUEST_END(echo)

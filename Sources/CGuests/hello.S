// Prints one line to COM1 and exits with code 0.
#include "guest.h"
GUEST_BEGIN(hello)
  leaq text(%rip), %rsi
  movl $(text_end - text), %ecx
next:
  movl $LSR, %edx
1:
  inb %dx, %al
  testb $LSR_TRANSMIT_EMPTY, %al
  jz 1b
  movl $DATA, %edx
  movb (%rsi), %al
  outb %al, %dx
  incq %rsi
  decl %ecx
  jnz next
  xorl %eax, %eax
  outb %al, $DEBUG_EXIT
2:
  pause
  jmp 2b
text:
  .ascii "Hello from vmpool\n"
text_end:
GUEST_END(hello)

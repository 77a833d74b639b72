// As CKVM/entry.S, with a loop in the window for as long as held_entry_wanted is set.
#include <asm/unistd.h>

.text
.globl held_entry_stub
.globl held_entry_window
.globl held_entry_syscall
.globl held_entry_aborted
.type held_entry_stub, @function
held_entry_stub:
  .cfi_startproc
  movq %rsi, %r8
  movl $0xAE80, %esi
  xorl %edx, %edx
  movl $__NR_ioctl, %eax
  leaq held_entry_wanted(%rip), %r9
  leaq held_entry_standing(%rip), %r10
  cmpb $0, (%r8)
held_entry_window:
  jne held_entry_aborted
1:
  movl $1, (%r10)
  pause
  cmpl $0, (%r9)
  jne 1b
  movl $0, (%r10)
held_entry_syscall:
  syscall
  ret
held_entry_aborted:
  movl $0, (%r10)
  movq $-4096, %rax
  ret
  .cfi_endproc
.size held_entry_stub, . - held_entry_stub

.section .note.GNU-stack, "", @progbits

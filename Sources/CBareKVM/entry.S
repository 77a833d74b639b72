// long barekvm_enter(int fd, const volatile unsigned char *kicked): KVM_RUN unless *kicked. A signal handler that finds
// the thread from barekvm_window up to barekvm_syscall may move it to barekvm_aborted.
#include <asm/unistd.h>
.text
.globl barekvm_enter
.globl barekvm_window
.globl barekvm_syscall
.globl barekvm_aborted
.type barekvm_enter, @function
barekvm_enter:
  .cfi_startproc
  movq %rsi, %r8
  movl $0xAE80, %esi // KVM_RUN
  xorl %edx, %edx
  movl $__NR_ioctl, %eax
  cmpb $0, (%r8)
barekvm_window:
  jne barekvm_aborted
barekvm_syscall:
  syscall
  ret
barekvm_aborted:
  movq $-4, %rax // -EINTR
  ret
  .cfi_endproc
.size barekvm_enter, . - barekvm_enter
.section .note.GNU-stack, "", @progbits

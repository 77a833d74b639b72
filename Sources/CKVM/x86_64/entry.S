// long ckvm_entry_stub(int fd, const volatile void *reasons)
//
// The last look at the request word and KVM_RUN, with nothing between them. A signal that lands at or after
// ckvm_entry_window and before the syscall instruction has been executed was not seen by the check: the handler's
// immediate_exit then makes the kernel return -EINTR at once. The labels name the places of this window for the
// benchmarks' ip_fixup (CComparedKicks). Its handler may move the thread to ckvm_entry_aborted: nothing is on the stack.

#if defined(__x86_64__)
#include <asm/unistd.h>

.text
.globl ckvm_entry_stub
.globl ckvm_entry_window
.globl ckvm_entry_syscall
.globl ckvm_entry_aborted
.type ckvm_entry_stub, @function
ckvm_entry_stub:
  .cfi_startproc
  movq %rsi, %r8
  movl $0xAE80, %esi        // KVM_RUN
  xorl %edx, %edx
  movl $__NR_ioctl, %eax
  cmpb $0, (%r8)
ckvm_entry_window:
  jne ckvm_entry_aborted
ckvm_entry_syscall:
  syscall
  ret
ckvm_entry_aborted:
  movq $-4096, %rax         // CKVM_ABORTED
  ret
  .cfi_endproc
.size ckvm_entry_stub, . - ckvm_entry_stub
#endif

.section .note.GNU-stack, "", @progbits

# A kernel with a PVH entry that says what it was told: its command line, its modules, the sum of its memory, and
# whether there are ACPI tables.
  .section .note.pvh, "a", @note
  .long 4, 4, 18
  .asciz "Xen"
  .long start32

  .text
  .code32
  .globl start32
start32:
  movb $1, %al
  cmpl $0x336EC578, (%ebx)
  jne finish
  cmpl $1, 4(%ebx)
  jne finish
  movl $stack_end, %esp
  cmpl $0, zero
  movb $2, %al
  jne finish

  movl 24(%ebx), %esi
  call print
  movl $line, %esi
  call print
  movl 12(%ebx), %edi
  movl 16(%ebx), %ebp
modules:
  testl %edi, %edi
  jz modules_done
  movl (%ebp), %esi
  movl 8(%ebp), %ecx
  call print_bytes
  addl $32, %ebp
  decl %edi
  jmp modules
modules_done:
  movl 40(%ebx), %esi
  movl 48(%ebx), %edi
  xorl %eax, %eax
memory:
  cmpl $1, 16(%esi)
  jne 1f
  addl 8(%esi), %eax
1:
  addl $24, %esi
  decl %edi
  jnz memory
  call print_number
  movl 32(%ebx), %eax
  call print_number
  xorl %eax, %eax
  jmp finish

  .include "print32.s"

  # Where a loader that does not look at the note would begin.
  .code64
  .globl _start
_start:
  movb $3, %al
  outb %al, $0xF4
1:
  hlt
  jmp 1b

  .bss
zero:
  .long 0
  .skip 0x1000
stack_end:

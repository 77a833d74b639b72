# A Multiboot kernel in an ELF file of 64 bits, which such a loader starts in 32-bit mode. It exits with 0 if it finds what
# a loader on a PC leaves: the information below 64 KiB, the BIOS data area, MP tables, and what its modules are. It prints
# the text and the bytes of each module.
  .equ MAGIC, 0x1BADB002

  .text
  .code32
  .balign 4
  .long MAGIC, 3, -(MAGIC + 3)
  .globl _start
_start:
  cmpl $0x2BADB002, %eax
  movb $1, %al
  jne finish
  movl $stack_end, %esp
  cmpl $0x10000, %ebx
  movb $2, %al
  ja finish
  # The words that Xen and xv6 read: KiB of low memory, and the segment of the extended area, where MP tables are.
  cmpw $639, 0x413
  movb $3, %al
  jne finish
  movzwl 0x40E, %esi
  shll $4, %esi
  cmpl $0x5F504D5F, (%esi)
  movb $4, %al
  jne finish
  movl 4(%esi), %esi
  cmpl $0x504D4350, (%esi)
  movb $5, %al
  jne finish

  movl 20(%ebx), %edi
  movl 24(%ebx), %ebp
1:
  testl %edi, %edi
  jz 2f
  movl 8(%ebp), %esi
  testl %esi, %esi
  jz 3f
  call print
  movl $line, %esi
  call print
3:
  movl (%ebp), %esi
  movl 4(%ebp), %ecx
  subl %esi, %ecx
  call print_bytes
  addl $16, %ebp
  decl %edi
  jmp 1b
2:
  xorl %eax, %eax
  jmp finish

  .include "print32.s"

  .bss
  .skip 0x1000
stack_end:

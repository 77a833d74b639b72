# A Multiboot kernel that says what it was told: its command line, the end of its memory, its modules, and how many
# vCPUs there are, all of which it starts. Assembled with HAS_ADDRESSES=1 its header says where it belongs.
  .equ MAGIC, 0x1BADB002
  .equ FLAGS, 3 | HAS_ADDRESSES << 16
  # Where the others begin, in real mode, and where they count themselves.
  .equ TRAMPOLINE, 0x8000
  .equ COUNTER, 0x7000
  .equ LOCAL_APIC, 0xFEE00000

  .text
  .code32
header:
  .long MAGIC, FLAGS, -(MAGIC + FLAGS)
  .if HAS_ADDRESSES
  .long header, header, data_end, bss_end, start
  .endif

  .globl start
start:
  cmpl $0x2BADB002, %eax
  movb $1, %al
  jne finish
  movl $stack_end, %esp
  # Memory that the file says nothing of is zero.
  cmpl $0, zero
  movb $2, %al
  jne finish

  movl 16(%ebx), %esi
  call print
  movl $line, %esi
  call print
  movl 8(%ebx), %eax
  call print_number

  movl 20(%ebx), %edi
  movl 24(%ebx), %ebp
modules:
  testl %edi, %edi
  jz modules_done
  movl (%ebp), %esi
  movl 4(%ebp), %ecx
  subl %esi, %ecx
  call print_bytes
  addl $16, %ebp
  decl %edi
  jmp modules
modules_done:

  # The memory map: the sum of what can be used.
  movl 48(%ebx), %esi
  movl 44(%ebx), %edi
  addl %esi, %edi
  xorl %ecx, %ecx
memory:
  cmpl %edi, %esi
  jae memory_done
  cmpl $1, 20(%esi)
  jne 1f
  addl 12(%esi), %ecx
1:
  addl (%esi), %esi
  addl $4, %esi
  jmp memory
memory_done:
  movl %ecx, %eax
  call print_number

  # How many vCPUs there are, as QEMU tells it.
  movw $0x510, %dx
  movw $5, %ax
  outw %ax, %dx
  incw %dx
  inb %dx, %al
  movzbl %al, %ebx

  movl $0, COUNTER
  movl $trampoline, %esi
  movl $TRAMPOLINE, %edi
  movl $(trampoline_end - trampoline), %ecx
  rep movsb
  # The local APIC on; INIT, then a startup interrupt, to all but this one.
  movl $0x1FF, LOCAL_APIC + 0xF0
  movl $0x000C4500, LOCAL_APIC + 0x300
  movl $(0x000C4600 | TRAMPOLINE >> 12), LOCAL_APIC + 0x300
1:
  pause
  movl COUNTER, %eax
  incl %eax
  cmpl %eax, %ebx
  jne 1b
  call print_number
  xorl %eax, %eax
  jmp finish

  .code16
trampoline:
  xorw %ax, %ax
  movw %ax, %ds
  lock incw COUNTER
1:
  hlt
  jmp 1b
trampoline_end:

  .code32
  .include "print32.s"

  .data
data_end:

  .bss
zero:
  .long 0
  .skip 0x3000
stack_end:
bss_end:

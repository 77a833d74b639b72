# Flat machine code in ring 3 of 64-bit mode: maps the first 2 MiB above 4 GiB for itself, writes there and reads it back.
# It exits with 0; with 1 where there is no memory, and with 2 where there is some in the hole below.
  .equ ABOVE, 0x100000000
  .equ HOLE, 0xC0000000
  # The page directory pointers that it starts with, and a page that is free.
  .equ POINTERS, 0x2000
  .equ DIRECTORY, 0x5000

  .text
  .code64
  movabsq $(ABOVE | 0xE7), %rax
  movq %rax, DIRECTORY
  movq $(DIRECTORY | 0x27), POINTERS + 8 * (ABOVE >> 30)
  movabsq $ABOVE, %rbx
  movq %rbx, (%rbx)
  cmpq %rbx, (%rbx)
  movb $1, %al
  jne out
  movl $HOLE, %ecx
  cmpq $-1, (%rcx)
  movb $2, %al
  jne out
  xorl %eax, %eax
out:
  outb %al, $0xF4
1:
  jmp 1b

# A program that starts in 64-bit mode: prints a line out of its data, and ends with its vCPU's number as its code if
# everything is where it should be.
  .text
  .globl _start
_start:
  movb $0xF0, %al
  cmpq $0, zero(%rip)
  jne 1f
  movb $0xF1, %al
  leaq _start(%rip), %rcx
  cmpq $_start, %rcx
  jne 1f
  # The stack is there.
  pushq %rdi
  leaq text(%rip), %rsi
  movl $(text_end - text), %ecx
  movl $0x3F8, %edx
  rep outsb
  popq %rax
1:
  outb %al, $0xF4
2:
  hlt
  jmp 2b

  .data
text:
  .ascii "64 bits\n"
text_end:

  .bss
zero:
  .skip 0x2000

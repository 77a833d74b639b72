# Leaves a secret wherever ring 3 can, and looks for one. It prints "ready", then serves bytes from the serial port, for
# ever: `?` looks, and prints what it found, a dot for nothing; any other byte is left as a secret, and `w` is printed. Raw
# code for 64-bit mode in ring 3.
  .set AREA, 0x100000
  .set WORDS, 0x10000          # 64-bit words of memory: 128 pages
  .code64
  leaq ready(%rip), %rsi
  movl $(ready_end - ready), %ecx
  movl $0x3F8, %edx
  rep outsb
serve:
  movl $0x3FD, %edx
  inb %dx, %al
  testb $1, %al
  jz serve
  movl $0x3F8, %edx
  inb %dx, %al
  cmpb $'?', %al
  je look

  # The secret in all bytes of RBX.
  movzbl %al, %ebx
  movabsq $0x0101010101010101, %rcx
  imulq %rcx, %rbx
  movl $AREA, %edi
  movl $WORDS, %ecx
  movq %rbx, %rax
  rep stosq
  movq %rbx, %r8
  movq %rbx, %r15
  movq %rbx, %xmm0
  movq %rbx, %xmm7
  movq %rbx, %mm3
  # A register of the serial port that keeps what is written to it.
  movl $0x3FF, %edx
  movb %bl, %al
  outb %al, %dx
  movb $'w', %al
  jmp answer

look:
  movl $AREA, %edi
  movl $WORDS, %ecx
  xorl %eax, %eax
  repe scasq
  jne found_memory
  movq %r8, %rbx
  orq %r15, %rbx
  movq %xmm0, %rcx
  orq %rcx, %rbx
  movq %xmm7, %rcx
  orq %rcx, %rbx
  movq %mm3, %rcx
  orq %rcx, %rbx
  movl $0x3FF, %edx
  inb %dx, %al
  orb %al, %bl
  movb %bl, %al
  testb %al, %al
  jnz answer
  movb $'.', %al
  jmp answer
found_memory:
  movb -8(%rdi), %al
answer:
  movl $0x3F8, %edx
  outb %al, %dx
  jmp serve
ready:
  .ascii "ready"
ready_end:

// The guest of clones, in ring 3: writes a byte to each of `count` pages from 1 MiB on, and ends by a write to port 0xF4.
  .section .rodata
  .globl barekvm_touch, barekvm_touch_end
  .hidden barekvm_touch, barekvm_touch_end
barekvm_touch:
  movl count(%rip), %ecx
  movl $0x100000, %edi
1:
  movb $1, (%rdi)
  addq $0x1000, %rdi
  decl %ecx
  jnz 1b
  xorl %eax, %eax
  outb %al, $0xF4
2:
  pause
  jmp 2b
count:
  .long 0
barekvm_touch_end:
  .section .note.GNU-stack, "", @progbits

# For guests in 32-bit protected mode: the serial port, which is always ready, and the debug-exit port.

# Prints the text at ESI, up to its NUL.
print:
  movw $0x3F8, %dx
1:
  lodsb
  testb %al, %al
  jz 2f
  outb %al, %dx
  jmp 1b
2:
  ret

# Prints the ECX bytes at ESI.
print_bytes:
  movw $0x3F8, %dx
  rep outsb
  ret

# Prints EAX in 8 hexadecimal digits, and a line's end.
print_number:
  movl %eax, %ebp
  movl $8, %ecx
  movw $0x3F8, %dx
1:
  roll $4, %ebp
  movl %ebp, %eax
  andl $0xF, %eax
  movb digits(%eax), %al
  outb %al, %dx
  loop 1b
  movb $10, %al
  outb %al, %dx
  ret

# Ends the guest with the code in AL.
finish:
  outb %al, $0xF4
1:
  hlt
  jmp 1b

  .data
line:
  .asciz "\n"
digits:
  .ascii "0123456789abcdef"
  .text

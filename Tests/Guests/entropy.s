# A PVH kernel for the device of DeviceAttachmentTests: it asks for 16 random bytes at `bytes`, and exits with 0 when they
# are there and the device has raised interrupt 5, which it reads from the first 8259.
  .section .note.pvh, "a", @note
  .long 4, 4, 18
  .asciz "Xen"
  .long start32

  .equ DEVICE, 0xD0000000

  .text
  .code32
  .globl start32
start32:
  movl $DEVICE, %edi
  movl $bytes, (%edi)
  movl $16, 4(%edi)
  movl 8(%edi), %eax
  cmpl $16, %eax
  movb $1, %al
  jne finish
  movl bytes, %eax
  orl bytes + 4, %eax
  orl bytes + 8, %eax
  movb $2, %al
  jz finish
  # The interrupt's way through the kernel takes a while.
1:
  movb $0x0A, %al
  outb %al, $0x20
  inb $0x20, %al
  testb $0x20, %al
  jz 1b
  xorl %eax, %eax
finish:
  outb %al, $0xF4
2:
  hlt
  jmp 2b

  .globl _start
  .equ _start, start32
  .bss
  .balign 4096
bytes:
  .skip 16

# A Multiboot kernel that exits with 0 when the interval timer interrupts through pin 2 of the I/O APIC, where a PC has it.
# Interrupts stay off: it looks for the vector in the local APIC's request register.
  .equ MAGIC, 0x1BADB002
  .equ LOCAL_APIC, 0xFEE00000
  .equ SPURIOUS_VECTOR, 0xF0
  .equ REQUEST_64_TO_95, 0x220
  .equ IO_APIC, 0xFEC00000
  .equ PIN_2, 0x10 + 2 * 2
  .equ VECTOR, 0x40

  .text
  .code32
  .balign 4
  .long MAGIC, 3, -(MAGIC + 3)
  .globl start
start:
  movb $0xFF, %al
  outb %al, $0x21
  outb %al, $0xA1
  movl $0x1FF, LOCAL_APIC + SPURIOUS_VECTOR
  movl $PIN_2 + 1, IO_APIC
  movl $0, IO_APIC + 0x10
  movl $PIN_2, IO_APIC
  movl $VECTOR, IO_APIC + 0x10
  # Channel 0, low and high byte, rate generator: about 1 kHz.
  movb $0x34, %al
  outb %al, $0x43
  movb $0xA9, %al
  outb %al, $0x40
  movb $0x04, %al
  outb %al, $0x40
1:
  testl $1, LOCAL_APIC + REQUEST_64_TO_95
  jz 1b
  xorl %eax, %eax
  outb %al, $0xF4
2:
  hlt
  jmp 2b

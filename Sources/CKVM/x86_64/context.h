// What a signal handler knows of the thread that it interrupts, on x86-64.
#pragma once
#include <ucontext.h>

#define CKVM_INSTRUCTION_POINTER(context) ((context)->uc_mcontext.gregs[REG_RIP])
/// rt_sigreturn.
#define CKVM_RETURN_FROM_SIGNAL "mov $15, %eax\n\tsyscall\n"

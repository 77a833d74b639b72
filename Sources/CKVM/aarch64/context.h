// What a signal handler knows of the thread that it interrupts, on arm64.
#pragma once
#include <ucontext.h>

#define CKVM_INSTRUCTION_POINTER(context) ((context)->uc_mcontext.pc)
/// rt_sigreturn.
#define CKVM_RETURN_FROM_SIGNAL "mov x8, #139\n\tsvc #0\n"

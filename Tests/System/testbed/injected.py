"""System calls that a thread of a running server is made to make: x86-64, and root."""
import contextlib
import ctypes
import errno
import os
import pathlib
import re

from testbed import processes
from testbed.checks import Skipped, expect
from testbed.held import PTRACE_DETACH, PTRACE_INTERRUPT, PTRACE_SEIZE, WALL, libc

PTRACE_PEEKTEXT, PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_SETREGS = 1, 9, 12, 13
SYSCALL = 0x050F
NONE = ctypes.c_ulong(-1).value

# x86-64's numbers, from asm/unistd_64.h.
NUMBERS = {
    "mprotect": 10, "ioctl": 16, "pwrite64": 18, "socket": 41, "connect": 42, "bind": 49, "listen": 50, "execve": 59, "kill": 62,
    "mkdir": 83, "unlink": 87, "chmod": 90, "setuid": 105, "capset": 126, "openat": 257, "accept4": 288, "prlimit64": 302,
    "memfd_create": 319, "clone3": 435, "landlock_restrict_self": 446,
}


class Registers(ctypes.Structure):
    """user_regs_struct, from sys/user.h."""
    _fields_ = [(name, ctypes.c_ulong) for name in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs"
    ).split()]


def _ptrace(request, thread, data=None, address=None):
    ctypes.set_errno(0)
    result = libc.ptrace(request, thread, address, data)
    error = ctypes.get_errno()
    if result == -1 and error == errno.ESRCH:
        raise ProcessLookupError(f"thread {thread} has ended")
    if result == -1 and error:
        raise Skipped(f"ptrace: {os.strerror(error)}")
    return result


class Thread:
    """A thread that stands in a system call, as long as the context lasts."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        status = pathlib.Path(f"/proc/{self.number}/status").read_text()
        processes.injected.add(int(re.search(r"^Tgid:\s+(\d+)", status, re.M)[1]))
        _ptrace(PTRACE_SEIZE, self.number)
        _ptrace(PTRACE_INTERRUPT, self.number)
        os.waitpid(self.number, WALL)
        self.before = Registers()
        _ptrace(PTRACE_GETREGS, self.number, ctypes.byref(self.before))
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Skipped, ProcessLookupError):
            _ptrace(PTRACE_SETREGS, self.number, ctypes.byref(self.before))
            _ptrace(PTRACE_DETACH, self.number)

    def call(self, name, *arguments):
        """The error that the kernel returns; 0 where it is none."""
        # The instruction that brought the thread into the kernel.
        place = self.before.rip - 2
        expect(_ptrace(PTRACE_PEEKTEXT, self.number, address=ctypes.c_void_p(place)) & 0xFFFF == SYSCALL,
               f"thread {self.number} stands in no system call")
        registers = Registers.from_buffer_copy(self.before)
        registers.rip, registers.rax, registers.orig_rax = place, NUMBERS[name], NONE
        for register, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), (*arguments, 0, 0, 0, 0, 0, 0)):
            setattr(registers, register, ctypes.c_ulong(value).value)
        _ptrace(PTRACE_SETREGS, self.number, ctypes.byref(registers))
        _ptrace(PTRACE_SINGLESTEP, self.number)
        os.waitpid(self.number, WALL)
        after = Registers()
        _ptrace(PTRACE_GETREGS, self.number, ctypes.byref(after))
        result = ctypes.c_long(after.rax).value
        return -result if -4096 < result < 0 else 0

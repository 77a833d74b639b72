"""A server one of whose threads stands still."""
import contextlib
import ctypes
import os
import pathlib

from testbed.checks import Skipped, eventually

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def threads(daemon, name):
    """The threads whose names begin so. Those that end meanwhile are none of them."""
    found = set()
    for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (task / "comm").read_text().startswith(name):
                found.add(int(task.name))
    return found


def vcpu_thread(daemon, others=frozenset()):
    """The thread of the only vCPU there is beside the others. It names itself, which may be after its VM is ready."""
    (thread,) = eventually("a vCPU's thread", lambda: threads(daemon, "vm-") - others)
    return thread


@contextlib.contextmanager
def held(thread):
    """While it lasts, the thread does nothing at all, whatever signal it is sent: a debugger has stopped it."""
    if libc.ptrace(PTRACE_SEIZE, thread, None, None) != 0:
        raise Skipped(f"ptrace: {os.strerror(ctypes.get_errno())}")
    try:
        libc.ptrace(PTRACE_INTERRUPT, thread, None, None)
        os.waitpid(thread, WALL)
        yield
    finally:
        if libc.ptrace(PTRACE_DETACH, thread, None, None) != 0:
            # Its process was killed. It stays for as long as the thread has not been waited for.
            os.waitpid(thread, WALL)

"""Processes that the checks start, and how none of them outlives the run."""
import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from testbed.checks import Skipped, expect

# Where vmpoold and vmpool are; set once by the runner.
BINARIES = pathlib.Path()
ROOT = pathlib.Path(__file__).resolve().parents[3]
PYTHON = sys.executable
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="vmpool-system-"))

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None, use_errno=True)


inherited = set()
# Processes that `start` has started. A command that becomes the server keeps its number.
started = set()
# Servers whose threads were made to call what they may not.
injected = set()
BEGAN = time.clock_gettime(time.CLOCK_BOOTTIME)


def _die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, **options):
    """A process that dies with this one. Call it on the main thread: the kernel goes by the thread."""
    process = subprocess.Popen([str(word) for word in command], preexec_fn=_die_with_parent, **options)
    started.add(process.pid)
    return process


def run(command, timeout=60, **options):
    """Runs a program to its end; its output is captured as text."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.run([str(word) for word in command], timeout=timeout, preexec_fn=_die_with_parent, **options)


def which(program):
    return shutil.which(program)


def scratch_directory(name):
    return pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=SCRATCH))


def children():
    """The processes that are this one's children, orphans of its children included, and not those of the shell that it
    took the place of."""
    lists = pathlib.Path("/proc/self/task").glob("*/children")
    return [int(pid) for path in lists for pid in path.read_text().split() if int(pid) not in inherited]


@contextlib.contextmanager
def housekeeping():
    """Ends what is left at the end, be it a regular one, and removes the temporary files."""
    inherited.update(children())
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: (_ for _ in ()).throw(SystemExit(128 + number)))
    regular = False
    try:
        yield
        regular = True
    finally:
        if not regular:
            kill_all()
        shutil.rmtree(SCRATCH, ignore_errors=True)


def kill_all():
    # A child's own children become ours when it dies.
    while pids := children():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def expect_none_left():
    # An orphan of a program that has ended became a child of this process, and waits to be waited for.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    names = []
    for pid in children():
        with contextlib.suppress(OSError):
            names.append(f"{pid} {pathlib.Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')}")
    kill_all()
    expect(not names, lambda: "left running: " + "; ".join(names))


def expect_no_refusals():
    """The kernel logs each system call that a server's filter refuses, unless there are very many."""
    if os.geteuid() != 0:
        raise Skipped("reading the kernel's log needs root")
    found = set()
    for line in run(["dmesg"]).stdout.splitlines():
        match = re.match(r'\[ *([\d.]+)\] audit: type=1326 .* pid=(\d+) comm=("[^"]*"|\w+) .* syscall=(\d+)', line)
        if match and float(match[1]) > BEGAN and int(match[2]) in started - injected:
            found.add(f"call {match[4]} by {match[3]}")
    expect(not found, lambda: "refused: " + "; ".join(sorted(found)))

"""A server whose vCPU threads hardly ever get a processor, so that a kick takes as long as one likes."""
import contextlib
import os
import pathlib

from testbed import processes


@contextlib.contextmanager
def starved(daemon):
    """While it lasts, a busy loop holds the one processor that the vCPU threads may use; they have the least priority
    there is, and keep it afterwards."""
    processor = min(os.sched_getaffinity(0))
    hog = processes.start(["sh", "-c", "while :; do :; done"])
    try:
        os.sched_setaffinity(hog.pid, {processor})
        for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir():
            if (task / "comm").read_text().startswith("vm-"):
                os.sched_setaffinity(int(task.name), {processor})
                os.sched_setscheduler(int(task.name), os.SCHED_IDLE, os.sched_param(0))
        yield
    finally:
        hog.kill()
        hog.wait()

"""Libraries that change what a program of ours sees of the system."""
import pathlib

from testbed import processes
from testbed.checks import Skipped, equal


def preloadable(name):
    """The library that NAME.c beside this file makes, for $LD_PRELOAD."""
    library = processes.scratch_directory(name) / f"{name}.so"
    compiler = processes.which("clang") or processes.which("cc")
    if compiler is None:
        raise Skipped("there is no C compiler")
    source = pathlib.Path(__file__).with_name(f"{name}.c")
    made = processes.run([compiler, "-Wall", "-O1", "-shared", "-fPIC", "-o", library, source])
    equal((made.returncode, made.stderr), (0, ""), f"compiling {source.name}")
    return library

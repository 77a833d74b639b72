"""The list of checks, and how a check says what it found."""
import textwrap
import time
import traceback

passed, failed, skipped = [], [], []


class Skipped(Exception):
    """This machine cannot run the check; says why."""


class Failure(AssertionError):
    """What was seen is not what was promised."""


def check(name):
    """Marks a function of a group as a check; they run in the order in which they stand."""

    def mark(function):
        function.check_name = name
        return function

    return mark


def run(module, group, text=""):
    """Runs the checks of a group whose names contain the text."""
    for function in list(vars(module).values()):
        if hasattr(function, "check_name") and function.__module__ == module.__name__ and text in function.check_name:
            run_one(f"{group}: {function.check_name}", function)


def run_one(name, function):
    began = time.monotonic()
    try:
        note = function()
    except Skipped as reason:
        skipped.append(name)
        print(f"SKIPPED {name}: {reason}", flush=True)
    except Exception as error:
        lines = [str(error)] if isinstance(error, Failure) else traceback.format_exc().splitlines()
        place = traceback.extract_tb(error.__traceback__)
        where = next((frame for frame in reversed(place) if "/checks/" in frame.filename), place[-1])
        lines.append(f"at {where.filename.rsplit('/', 1)[-1]}:{where.lineno}: {where.line}")
        report = f"FAIL    {name}\n" + textwrap.indent("\n".join(lines), " " * 8)
        failed.append(report)
        print(report, flush=True)
    else:
        passed.append(name)
        print(f"ok      {name}" + (f": {note}" if note else "") + f" ({time.monotonic() - began:.1f} s)", flush=True)


def summary():
    return f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} SKIPPED"


def expect(condition, what):
    if not condition:
        raise Failure(what() if callable(what) else what)


def equal(found, wanted, what):
    expect(found == wanted, lambda: f"{what}: {found!r}, not {wanted!r}")


def eventually(what, probe, seconds=20):
    """What the probe returns once it returns something true; the last thing it returned is told otherwise."""
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}; at last {found!r}")
        time.sleep(0.02)


def becomes(wanted, what, probe, seconds=20):
    """Waits until the probe returns the value wanted."""
    end = time.monotonic() + seconds
    while (found := probe()) != wanted:
        if time.monotonic() > end:
            raise Failure(f"{what} did not become {wanted!r} within {seconds} s; it is {found!r}")
        time.sleep(0.02)

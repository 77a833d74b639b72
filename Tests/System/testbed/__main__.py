"""Runs the groups of checks in order."""
import importlib
import os
import pathlib
import sys
import time

from testbed import checks, processes

GROUPS = [
    "tour",
    "end_to_end",
    "lifecycle",
    "console",
    "pools",
    "leases",
    "runs",
    "guests",
    "templates",
    "resets",
    "promises",
    "idempotency",
    "state",
    "state_directory",
    "bad_input",
    "smuggling",
    "slow_clients",
    "events",
    "keys",
    "tenants",
    "listeners",
    "tls",
    "browsers",
    "starvation",
    "quarantine",
    "schema",
    "document",
    "generated_client",
    "metrics",
    "prometheus",
    "stopping",
    "log",
    "systemd",
    "refusals",
    "exhaustion",
    "leaks",
    "sustained",
    "command_line",
    "references",
    "output",
    "terminal",
    "boot",
    "contexts",
    "unix_peers",
    "offline_keys",
    "installation",
    "images",
    "linux",
    "foreign",
    "configuration",
    "limits",
    "sandbox",
    "documents",
]


def main(arguments):
    binaries, *wanted = arguments
    # GROUP, or GROUP:TEXT for those of its checks whose names contain the text.
    wanted = [word.partition(":")[::2] for word in wanted]
    unknown = {group for group, _ in wanted} - set(GROUPS)
    if unknown:
        print(f"run: no group {', '.join(sorted(unknown))}; there are {' '.join(GROUPS)}", file=sys.stderr)
        return 64
    processes.BINARIES = pathlib.Path(binaries)
    began = time.monotonic()
    with processes.housekeeping():
        for group, text in wanted or [(group, "") for group in GROUPS]:
            module = importlib.import_module(f"checks.{group}")
            checks.run(module, group, text)
    if not checks.passed + checks.failed + checks.skipped:
        print(f"run: no check has such a name", file=sys.stderr)
        return 64
    checks.run_one("no thread of a server was refused a call that it made", processes.expect_no_refusals)
    checks.run_one("nothing is left running", processes.expect_none_left)
    # Once more, at the end, where a long log is read first, and which is left of one that is cut.
    for report in checks.failed:
        print(report)
    print(f"system: {checks.summary()} in {time.monotonic() - began:.0f} s")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("SKIPPED every system check: /dev/kvm cannot be opened here, and without it there is nothing to test")
        sys.exit(0)
    sys.exit(main(sys.argv[1:]))

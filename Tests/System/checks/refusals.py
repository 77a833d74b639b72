"""What keeps the server from starting, and what it says then: one line, and what to do."""
import os

import yaml

from testbed import problems, processes
from testbed.checks import Skipped, check, equal, expect
from testbed.daemon import Daemon, refusal

NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
# Even root heeds the permissions of files without these.
OVERRIDES = "-dac_override,-dac_read_search"
POWERLESS = ["setpriv", "--bounding-set", OVERRIDES, "--inh-caps", OVERRIDES]


def with_dev(script, before=(), **options):
    """The refusal of a server that sees what the script makes of /dev, and nobody else does."""
    if processes.run([*NAMESPACE, "true"]).returncode != 0:
        raise Skipped("no mount namespace can be made here (unshare --mount)")
    words = [*NAMESPACE, "sh", "-ec", f'{script}\nexec "$@"', "sh", *before]
    return refusal("--listen", "127.0.0.1:0", before=words, **options)


def expect_refusal(found, status, *words):
    """The exit status, and one line with these words."""
    code, text = found
    equal(code, status, f"the exit status; it said {text}")
    equal(len(text.splitlines()), 1, f"the lines of {text}")
    for word in words:
        expect(word in text, lambda: f"no {word!r} in: {text}")


@check("without /dev/kvm: 69, and which module to load")
def missing():
    found = with_dev("mount -t tmpfs none /dev")
    expect_refusal(found, 69, "/dev/kvm", "modprobe", "nested")


@check("with a /dev/kvm that may not be opened: 69, and which group to join")
def not_permitted():
    device = processes.scratch_directory("device") / "kvm"
    device.touch(mode=0o000)
    found = with_dev(f"mount --bind {device} /dev/kvm", before=POWERLESS)
    expect_refusal(found, 69, "/dev/kvm", "group kvm", "usermod")


@check("with something else at /dev/kvm: 69")
def something_else():
    found = with_dev("mount --bind /dev/null /dev/kvm")
    expect_refusal(found, 69, "/dev/kvm")


@check("bad options: 64")
def options():
    for words in (["--nonsense"], ["--listen"], ["--max-vms", "0"], ["--max-vms", "x"], ["--log-format", "xml"],
                  ["--log-level", "loud"], ["--kick-mechanism", "signal_only"], ["--allow-host", ""],
                  ["--allow-host", "http://x/"], ["extra"]):
        status, text = refusal("--listen", "127.0.0.1:0", *words)
        expect(status == 64 and text, f"{words}: {status} {text}")
    status, text = refusal("--help")
    expect(status == 0 and "--listen" in text and "--max-vms" in text, f"--help: {status} {text}")
    status, text = refusal("--version")
    expect(status == 0 and text, f"--version: {status} {text}")


@check("the problems that these tests know are those of the document that the server serves")
def known_problems():
    with Daemon("--no-demo-pool") as daemon:
        document = yaml.safe_load(daemon.client().get("/openapi.yaml").text)
    members = document["components"]["schemas"]["Problem"]["properties"]
    kinds = {kind.removeprefix("/problems/") for kind in members["type"]["enum"]}
    equal(kinds ^ set(problems.STATUS), set(), "kinds that only one of the two has")
    equal(set(members) ^ problems.MEMBERS, set(), "members that only one of the two has")
    return f"{len(kinds)} kinds"


@check("a state directory that cannot be used: 73")
def state_directory():
    directory = processes.scratch_directory("state")
    (directory / "file").touch()
    for path in (directory / "file", directory / "none" / "below", "/proc/state"):
        expect_refusal(refusal("--listen", "127.0.0.1:0", "--state-dir", path), 73, str(path))
    with Daemon("--state-dir", str(directory / "made")):
        equal(os.stat(directory / "made").st_mode & 0o777, 0o700, "the permissions of the directory it made")

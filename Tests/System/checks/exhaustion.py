"""Out of descriptors, memory or threads while a VM is made: 503, the half-made VM gone, and life goes on."""
import contextlib
import os
import pathlib
import shutil

from checks.lifecycle import create
from testbed import problems, processes
from testbed.checks import Skipped, check, equal, expect
from testbed.client import connect, read_answer
from testbed.daemon import Daemon

# A user that nobody is. Root's threads are not counted against a limit.
NOBODY = 64123


@contextlib.contextmanager
def limited(daemon, name, value, user=()):
    """The limit while the context lasts; set by the server's own user, who always may."""
    prlimit = [*user, "prlimit", "--pid", daemon.pid]
    result = processes.run([*prlimit, f"--{name}={value}:"])
    if result.returncode != 0:
        raise Skipped(f"prlimit --{name}: {result.stderr.strip()}")
    try:
        yield
    finally:
        # The soft limit alone was changed.
        hard = processes.run([*prlimit, f"--{name}", "--output", "HARD", "--noheadings"])
        processes.run([*prlimit, f"--{name}={hard.stdout.strip()}:"])


def expect_exhausted(answer, what):
    """Returns the document of a 503 that asks to come back."""
    document = problems.expect_problem(answer, "resources-exhausted", what)
    expect(int(answer.headers["Retry-After"]) >= 1, lambda: f"{what}: no Retry-After")
    return document


def squeeze(daemon, client, name, value, document, before, user=()):
    """Makes VMs until there is no room for another; they go again."""
    made = []
    with limited(daemon, name, value, user):
        while True:
            answer = client.post("/v1/vms", document)
            if answer.status != 201:
                break
            made.append("/v1/vms/" + answer.json["id"])
            expect(len(made) < 200, f"the limit {name}={value} does not show")
        detail = expect_exhausted(answer, f"a VM beyond {name}={value}")["detail"]
        # Again, and still nothing of it stays; and whoever is there is served.
        for _ in range(10):
            expect_exhausted(client.post("/v1/vms", document), "one more VM")
        for path in ("/readyz", "/v1/vms", "/metrics"):
            equal(client.get(path).status, 200, path)
        for vm in made:
            equal(client.delete(vm).status, 204, "deleting a VM when nothing is left")
    daemon.expect_unchanged(before, f"{name}={value}")
    vm = create(client, **document)
    equal(client.post(f"{vm}/kick").status, 200, "a kick once the pressure is off")
    equal(client.delete(vm).status, 204, "deleting it")
    return f"{len(made)} made, then: {detail}"


@check("descriptors")
def descriptors():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        client.delete(create(client, image="spin"))
        before = daemon.holdings()
        client.get("/livez")
        count = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        # Room for a few VMs, and then for none, one descriptor at a time.
        notes = [squeeze(daemon, client, "nofile", count + extra, {"image": "spin", "start": False}, before)
                 for extra in (1, 2, 3, 8)]
        return notes[-1]


@check("connections that there is no descriptor for wait, and are served later")
def accepting():
    with Daemon() as daemon:
        client = daemon.client()
        before = daemon.holdings()
        client.get("/livez")
        with limited(daemon, "nofile", len(os.listdir(f"/proc/{daemon.pid}/fd"))):
            waiting = [connect(daemon.address) for _ in range(5)]
            for plain in waiting:
                plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            equal(client.get("/livez").status, 200, "on the connection there was")
        for plain in waiting:
            with plain, plain.makefile("rb") as stream:
                equal(read_answer(stream).status, 200, "on a connection that had to wait")
        daemon.expect_unchanged(before, "connections beyond the limit")


@check("memory")
def memory():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        client.delete(create(client, image="spin"))
        client.get("/metrics")
        before = daemon.holdings()
        used = int(pathlib.Path(f"/proc/{daemon.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        document = {"image": "spin", "memory_mib": 1024, "start": False}
        return squeeze(daemon, client, "as", used + (3 << 30), document, before)


@check("threads")
def threads():
    if os.geteuid() != 0:
        raise Skipped("it takes root to run the server as a user of its own")
    # A copy that the other user can reach.
    home = processes.scratch_directory("nobody")
    for directory in (processes.SCRATCH, home):
        directory.chmod(0o755)
    shutil.copy(processes.BINARIES / "vmpoold", home)
    (home / "vmpoold").chmod(0o755)
    # That user may open /dev/kvm whatever its permissions, and has no other privilege.
    user = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--bounding-set",
            "-all,+dac_override", "--inh-caps", "-all,+dac_override", "--ambient-caps", "+dac_override"]
    if processes.run([*user, "head", "-c", "0", "/dev/kvm"]).returncode != 0:
        raise Skipped("setpriv cannot make a process without privileges here")
    with Daemon("--no-demo-pool", before=user) as daemon:
        client = daemon.client()
        client.delete(create(client, image="spin"))
        before = daemon.holdings()
        client.get("/metrics")
        count = len(os.listdir(f"/proc/{daemon.pid}/task"))
        document = {"image": "spin", "vcpus": 8, "start": False}
        return squeeze(daemon, client, "nproc", count + 12, document, before, user)

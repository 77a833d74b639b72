"""Out of descriptors, memory or threads while a VM is made: 503, the half-made VM gone, and life goes on."""
import contextlib
import os
import pathlib
import resource
import shutil

from checks.lifecycle import create
from testbed import problems, processes
from testbed.checks import Skipped, check, equal, eventually, expect
from testbed.client import Client, connect, read_answer
from testbed.daemon import Daemon
from testbed.exposition import Exposition

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
    counted = dict(Exposition.of(client).counters())
    with limited(daemon, name, value, user):
        while True:
            answer = client.post("/v1/vms", document)
            if answer.status != 201:
                break
            made.append("/v1/vms/" + answer.json["id"])
            expect(len(made) < 200, f"the limit {name}={value} does not show")
        detail = expect_exhausted(answer, f"a VM beyond {name}={value}")["detail"]
        # Again, and still nothing of it stays; and the client that is there is served.
        for _ in range(10):
            expect_exhausted(client.post("/v1/vms", document), "one more VM")
        for path in ("/readyz", "/v1/vms", "/metrics"):
            equal(client.get(path).status, 200, path)
        now = dict(Exposition.of(client).counters())
        back = [series for series, value in counted.items() if now.get(series, value) < value]
        equal(back, [], "counters that went backwards")
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
        # Its processor time stands in a file, which takes a descriptor to read.
        create(client, image="spin")
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
    user = ["setpriv", "--reuid", str(NOBODY), "--regid", str(os.stat("/dev/kvm").st_gid), "--clear-groups", "--bounding-set",
            "-all", "--inh-caps", "-all"]
    if processes.run([*user, "head", "-c", "0", "/dev/kvm"]).returncode != 0:
        raise Skipped("setpriv cannot make a process without privileges here, or its group may not open /dev/kvm")
    os.chown(home, NOBODY, NOBODY)
    with Daemon("--no-demo-pool", "--state-dir", home / "state", before=user) as daemon:
        client = daemon.client()
        client.delete(create(client, image="spin"))
        before = daemon.holdings()
        client.get("/metrics")
        count = len(os.listdir(f"/proc/{daemon.pid}/task"))
        document = {"image": "spin", "vcpus": 8, "start": False}
        return squeeze(daemon, client, "nproc", count + 12, document, before, user)


# Connections that a server has room for, and requests that may wait at the same time, by default.
CONNECTIONS = 1024
WAITING = 512


@contextlib.contextmanager
def crowd(daemon, beginning, size=CONNECTIONS):
    """So many connections, as many as the server has room for by default, each with `beginning` sent and nothing read."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < size + 500:
        raise Skipped(f"this process may have {hard} descriptors at most")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, size + 500), hard))
    plains = []
    try:
        for _ in range(size):
            plains.append(connect(daemon.address))
            plains[-1].sendall(beginning)
        yield plains
    finally:
        for plain in plains:
            plain.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def status(daemon, method, path):
    """The status of one request on a connection of its own, which must be answered within ten seconds."""
    with Client(daemon.address, 10) as client:
        return client(method, path).status


def expect_served(daemon, client, vm):
    """A probe, a scrape and a deletion, on new connections."""
    for path in ("/livez", "/readyz", "/metrics"):
        equal(status(daemon, "GET", path), 200, path)
    equal(status(daemon, "DELETE", vm), 204, "deleting a VM")


@check("a crowd of idle connections makes room")
def idle():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="spin")
        with crowd(daemon, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            # They have a request behind them and none before them.
            eventually("a client is served", lambda: status(daemon, "GET", "/v1/vms") == 200)
            expect_served(daemon, client, vm)


@check("a crowd of silent connections makes room")
def silent():
    with Daemon("--no-demo-pool") as daemon:
        vm = create(daemon.client(), image="spin")
        with crowd(daemon, b""):
            expect_served(daemon, daemon.client(), vm)
            # A connection has a second or so to say something.
            eventually("a client is served", lambda: status(daemon, "GET", "/v1/vms") == 200)


@check("a crowd of slow clients shuts nobody out from probes, metrics and deletions")
def slow():
    with Daemon("--no-demo-pool") as daemon:
        vm = create(daemon.client(), image="spin")
        with crowd(daemon, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ") as plains:
            for round in range(3):
                for plain in plains:
                    with contextlib.suppress(OSError):
                        plain.sendall(b"a")
                eventually("the crowd is there", lambda: daemon.connections() >= CONNECTIONS - 1)
                equal(status(daemon, "GET", "/livez"), 200, "/livez")
            expect_served(daemon, daemon.client(), vm)
            answer = Client(daemon.address, 10).get("/v1/vms")
            equal(answer.headers["Connection"], "close", "Connection")
            expect_exhausted(answer, "a list, beside the crowd")
        expect("a limit of HTTP is reached" in daemon.log, "the log does not say that the connections are used up")


@check("a crowd that waits for a VM is bounded, and shuts no other client out")
def waiting():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        equal(client.put("/v1/pools/w", {"image": "halt", "ready": 1, "max_vms": 1}).status, 201, "the pool")
        grant = client.post("/v1/pools/w/leases", {"wait_ms": 10000, "ttl_ms": 600000}).json
        other = create(client, image="spin")
        body = b'{"wait_ms":60000}'
        head = b"POST /v1/pools/w/leases HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        with crowd(daemon, head + body, 1030) as plains:
            eventually("the crowd waits", lambda: gauge(daemon, "vmpool_http_waiting") >= WAITING)
            # Those that came last have their answer; all that wait came before them.
            with plains[-1].makefile("rb") as stream:
                problem = problems.expect_problem(read_answer(stream), "too-many-waiting", "the last of the crowd")
            expect("--max-waiting" in problem["detail"], lambda: f"no word of the option: {problem}")
            # A few threads may ask for the last place at the same moment.
            expect(gauge(daemon, "vmpool_http_waiting") <= WAITING + 8, "more requests wait than may")
            for path in ("/livez", "/readyz", "/metrics", "/v1/pools/w", f"{other}/vcpus"):
                equal(status(daemon, "GET", path), 200, path)
            for path in (f"{other}?wait_for=paused", "/v1/events"):
                answer = Client(daemon.address, 10).get(path)
                problems.expect_problem(answer, "too-many-waiting", path)
                expect(int(answer.headers["Retry-After"]) >= 1, f"{path}: no Retry-After")
            expect("requests wait, as many as may" in daemon.log, "the log does not say that no more requests may wait")
            equal(status(daemon, "DELETE", other), 204, "another VM")
            equal(status(daemon, "DELETE", f"/v1/leases/{grant['lease']}"), 204, "the lease that all of them wait for")
            # The next in the queue gets it.
            eventually("a lease is granted", lambda: daemon.client().get("/v1/leases").json["items"])


def gauge(daemon, name):
    """A family of one series, as `/metrics` has it; on a new connection, since a crowd has idle ones closed."""
    with daemon.client() as client:
        return Exposition.of(client).total(name)

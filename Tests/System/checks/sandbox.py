"""What the server has given up: system calls, capabilities, files, core dumps."""
import base64
import contextlib
import ctypes
import errno
import os
import pathlib
import platform
import re
import resource
import secrets
import signal
import sqlite3

from checks.guests import BYTES, built, upload
from checks.lifecycle import create, stop_of
from testbed import processes
from testbed.checks import Skipped, check, equal, eventually, expect
from testbed.client import Client
from testbed.daemon import Daemon
from testbed.held import threads
from testbed.injected import Thread
from testbed.pools import declare

# The names of threads by role: Sources/LinuxSupport/ThreadRole.swift.
ROLES = {
    "vcpu": r"vm-.*|spawn vcpu",
    "requests": r"http|http-watch|answers|deadlines|(events|messages|departures)-\d+|spawn requests",
    "machines": r"(refill|retirement|resets|templates|probes)-\d+|spawn machines",
    "files": r"(state|http-disk|blob-trash|scrape)-\d+|upkeep|spawn files",
    "operations": r"api-\d+|spawn operation",
    "service": r"vmpoold|configuration|liveness|spawn service",
    "plain": r"log|end signals|spawn plain",
}
VMS = {"requests", "machines", "operations", "service"}
FILES = {"requests", "files", "operations", "service"}
# A call of each kind, with arguments that cannot succeed, and the roles that may make it.
CALLS = [
    (("ioctl", -1, 0xAE80), {"vcpu", *VMS}),  # KVM_RUN
    (("ioctl", -1, 0xAE01), VMS),  # KVM_CREATE_VM
    (("ioctl", -1, 0x5412), set()),  # TIOCSTI
    (("openat", -1, 0, os.O_RDONLY), set(ROLES) - {"plain"}),
    (("openat", -1, 0, os.O_WRONLY | os.O_CREAT), FILES),
    (("unlink", 0), FILES),
    (("mkdir", 0), FILES),
    (("pwrite64", -1, 0, 0), set(ROLES) - {"plain", "vcpu"}),
    (("memfd_create", 0, 0), VMS),
    (("accept4", -1), {"requests"}),
    (("socket", -1), {"service"}),
    (("connect", -1), {"service"}),
    (("bind", -1), set()),
    (("listen", -1), set()),
    (("mprotect", 0, 0, 4), set()),  # PROT_EXEC
    (("chmod", 0), set()),
    (("kill", 0, 0), set()),
    (("setuid", 0), set()),
    (("capset", 0, 0), set()),
    (("prlimit64", 0, 7, 8), set()),  # RLIMIT_NOFILE
    (("landlock_restrict_self", -1), set()),
]


def tasks(daemon):
    """The names of the threads by number, without those that KVM makes in the kernel, which run none of our code."""
    found = {}
    for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found[int(task.name)] = (task / "comm").read_text().strip()
    return {number: name for number, name in found.items() if not name.startswith("kvm-")}


def role(name):
    (found,) = [role for role, names in ROLES.items() if re.fullmatch(names, name)] or [None]
    expect(found, f"no role is known for the thread {name}")
    return found


def status(daemon, thread):
    text = pathlib.Path(f"/proc/{daemon.pid}/task/{thread}/status").read_text()
    return dict(re.findall(r"^(\w+):\s+(.*)$", text, re.M))


@contextlib.contextmanager
def busy_server():
    """A server that has threads of every role, and a VM."""
    state = processes.scratch_directory("sandboxed")
    with Daemon("--state-dir", str(state)) as daemon:
        client = daemon.client()
        equal(client.get("/metrics").status, 200, "a scrape")
        hello = create(client, image="hello")
        stop_of(client, hello)
        equal(client.delete(hello).status, 204, "deleting")
        yield daemon, client, create(client, image="spin")


@check("every thread has no capabilities, no new privileges and two filters; /v1/host and the log say so")
def given_up():
    with busy_server() as (daemon, client, _):
        seen = set()
        for thread, name in tasks(daemon).items():
            # Threads of VMs that were deleted end by themselves.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found = status(daemon, thread)
                seen.add(role(name))
                none = "0" * 16
                sets = [found[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")]
                equal(sets, [none] * 5, f"{name}'s capabilities")
                equal((found["NoNewPrivs"], found["Seccomp"]), ("1", "2"), f"{name}: NoNewPrivs, Seccomp")
                equal(found.get("Seccomp_filters", "2"), "2", f"{name}'s filters")
        equal(seen, set(ROLES), "the roles that were seen")
        sandbox = client.get("/v1/host").json["sandbox"]
        equal(sandbox, {"seccomp": True, "landlock_abi": landlock(), "no_new_privs": True, "capabilities": "0x0"}, "/v1/host")
        expect("confined: " in daemon.log, "the log does not say that the server is confined")
        return f"{len(tasks(daemon))} threads, Landlock {sandbox['landlock_abi']}"


def landlock():
    """The version of the kernel's Landlock; None where it has none."""
    libc = ctypes.CDLL(None)
    version = libc.syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), ctypes.c_uint(1))
    return version if version > 0 else None


@check("--sandbox=off gives nothing up, and the log and /v1/host say so")
def off():
    with Daemon("--sandbox=off", "--no-demo-pool") as daemon:
        found = status(daemon, daemon.pid)
        equal((found["NoNewPrivs"], found["Seccomp"]), ("0", "0"), "NoNewPrivs, Seccomp")
        sandbox = daemon.client().get("/v1/host").json["sandbox"]
        equal((sandbox["seccomp"], sandbox["landlock_abi"], sandbox["no_new_privs"]), (False, None, False), "/v1/host")
        equal(int(sandbox["capabilities"], 16), int(found["CapEff"], 16), "the capabilities")
        expect(" warning the server is not confined" in daemon.log, "the log has no warning")


# Has the kernel say that it knows no Landlock, then becomes the program of its arguments: a filter of four instructions.
WITHOUT_LANDLOCK = """
import ctypes, os, struct, sys
code = b"".join(struct.pack("=HBBI", *words) for words in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x50000 + 95), (6, 0, 0, 0x7FFF0000)))
program = ctypes.create_string_buffer(code)
filter = struct.pack("=H6xQ", 4, ctypes.addressof(program))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@check("on a kernel without Landlock the server starts, and the log and /v1/host say so")
def without_landlock():
    with Daemon("--no-demo-pool", before=(processes.PYTHON, "-c", WITHOUT_LANDLOCK)) as daemon:
        sandbox = daemon.client().get("/v1/host").json["sandbox"]
        equal((sandbox["seccomp"], sandbox["landlock_abi"]), (True, None), "/v1/host")
        expect("its kernel has no Landlock" in daemon.log, "the log says nothing of it")


@check("an ordinary user's server is confined as well, and works")
def ordinary():
    if os.geteuid() != 0:
        raise Skipped("only root can become another user")
    place = processes.scratch_directory("ordinary")
    os.chmod(processes.SCRATCH, 0o711)
    os.chown(place, 65534, 65534)
    words = ("setpriv", "--reuid=65534", f"--regid={os.stat('/dev/kvm').st_gid}", "--clear-groups")
    probe = processes.run([*words, "sh", "-c", f"test -w /dev/kvm && test -w {place} && test -x {processes.BINARIES}/vmpoold"])
    if probe.returncode != 0:
        raise Skipped("it cannot use /dev/kvm, or reach the programs")
    with Daemon("--state-dir", place / "state", before=words) as daemon:
        client = daemon.client()
        stop_of(client, create(client, image="hello"))
        # Files of /proc that belong to root, since the process leaves no core dumps.
        expect("process_open_fds " in client.get("/metrics").text, "the metrics say nothing of /proc/self/fd")
        vcpu = client.get(create(client, image="spin") + "/vcpus/0").json
        expect(vcpu["cpu_ns"] is not None, "a vCPU's processor time is not read")
        found = status(daemon, daemon.pid)
        equal((found["CapEff"], found["NoNewPrivs"], found["Seccomp"]), ("0" * 16, "1", "2"), "the main thread")


@check("each thread of a running server can make the calls of its role, and no others")
def calls():
    if platform.machine() != "x86_64":
        raise Skipped("the registers are x86-64's")
    with busy_server() as (daemon, client, vm):
        tried = 0
        # A guest that runs would have its thread in user space now and then.
        equal(client.post(f"{vm}/pause").status, 200, "pausing")
        for number, name in tasks(daemon).items():
            with contextlib.suppress(ProcessLookupError), Thread(number) as thread:
                for call, roles in CALLS:
                    error = thread.call(*call)
                    allowed = role(name) in roles
                    expect((error != errno.EPERM) == allowed and error != 0,
                           lambda: f"{name} ({role(name)}): {call}: {errno.errorcode.get(error, error)}")
                equal(thread.call("clone3", 0, 0), errno.ENOSYS, f"{name}: clone3")
                tried += 1
        equal(client.post(f"{vm}/resume").status, 200, "resuming")
        equal(client.post(f"{vm}/kick").status, 200, "a kick afterwards")
        return f"{len(CALLS) + 1} calls on {tried} threads"


@check("a call that only an attacker makes ends the server")
def fatal():
    with Daemon("--no-demo-pool") as daemon:
        (number,) = threads(daemon, "upkeep")
        with contextlib.suppress(ProcessLookupError), Thread(number) as thread:
            thread.call("execve")
        equal(daemon.wait(), -signal.SIGSYS, "the exit status")


@check("the server opens no file that it was not told of, and reads its configuration again from where it is")
def files():
    if landlock() is None:
        raise Skipped("this kernel has no Landlock; /v1/host tells that (see the first check)")
    home, elsewhere = processes.scratch_directory("configured"), processes.scratch_directory("elsewhere")
    text = "pools:\n  %s: {image: spin, ready: {min: 0, max: 1}}\n"
    config, outside = home / "vmpoold.yaml", elsewhere / "outside.yaml"
    config.write_text(text % "first")
    with Daemon("--config", config, "--state-dir", home / "state") as daemon:
        client = daemon.client()
        # Editors and configuration managers put another file in its place.
        (home / "new").write_text(text % "second")
        (home / "new").rename(config)
        daemon.process.send_signal(signal.SIGHUP)
        eventually("the pool of the new file", lambda: client.get("/v1/pools/second").status == 200)
        outside.write_text(text % "third")
        config.unlink()
        config.symlink_to(outside)
        daemon.process.send_signal(signal.SIGHUP)
        eventually("the refusal", lambda: "ermission denied" in daemon.log)
        equal(client.get("/v1/pools/third").status, 404, "the pool of a file outside")
        equal(client.get("/v1/pools/second").status, 200, "the pool of the last file that was read")


# ---- secrets -------------------------------------------------------------------------------------------------------


@check("no secret of a client or a guest reaches the log, events, problems or the audit log")
def canaries():
    marks = {name: f"canary{secrets.token_hex(12)}" for name in (
        "arguments", "environment", "input", "console", "body", "authorization", "cookie", "header", "query")}
    state, problems = processes.scratch_directory("canaries"), []
    headers = {"Cookie": f"session={marks['cookie']}", "X-Any": marks["header"]}
    with Daemon("--state-dir", state, "--log-level", "trace", "--log-format", "json") as daemon:
        client = daemon.client()

        def send(method, path, document=None, wanted=200):
            answer = client(method, path, document, headers={**headers, "Idempotency-Key": secrets.token_hex(8)})
            equal(answer.status, wanted, f"{method} {path}: {answer}")
            if answer.status >= 400:
                problems.append(answer.text)
            return answer

        # The second key is used, and the first makes it: both texts are secrets. What is no key is one, too.
        for name in ("first key", "key"):
            made = client.post("/v1/keys", {"tenant": "default", "scopes": ["admin"], "note": "canaries"})
            equal(made.status, 201, "making a key")
            marks[name] = made.json["key"]
            client.headers["Authorization"] = f"Bearer {marks[name]}"
        start = re.search("id: (.+)", client.get("/v1/events?timeout_ms=1").text)[1]
        headers["Authorization"] = f"Bearer {marks['authorization']}"
        send("GET", "/v1/vms", wanted=401)
        del headers["Authorization"]
        declare(client, "echoes", image="echo")
        # The guest writes to its console what it reads.
        answer = send("POST", "/v1/pools/echoes/run", {"input": marks["input"] + "\n\4"}).json
        equal(answer["console"], marks["input"] + "\n", "what the guest wrote")
        vm = create(client, image="echo")
        console = (marks["console"] + "\n").encode()
        equal(client("POST", f"{vm}/console", console, BYTES).status, 200, "writing to the console")
        eventually("the guest's answer", lambda: marks["console"] in client.get(f"{vm}/console").text)
        # And this one its command line and its environment.
        upload(client, "kernel", (built() / "multiboot").read_bytes(), "multiboot")
        declare(client, "kernels", image="kernel", memory_mib=4)
        told = {"command_line": marks["arguments"], "environment": {"KEY": marks["environment"]}, "wait_ms": 30_000}
        answer = send("POST", "/v1/pools/kernels/run", told).json
        expect(all(mark in answer["console"] for mark in (marks["arguments"], marks["environment"])), lambda: f"the guest: {answer}")
        send("POST", "/v1/vms", {"image": "spin", "vcpus": marks["body"]}, 400)
        send("GET", f"/v1/nothing?key={marks['query']}", wanted=404)
        send("GET", "/v1/vms/vm-" + "0" * 16, wanted=404)
        log = daemon.log_so_far()
        events = client.get(f"/v1/events?last_event_id={start}&limit=8&timeout_ms=1000").text
    with contextlib.closing(sqlite3.connect(f"file:{state}/vmpool.db?mode=ro", uri=True)) as database:
        audit = repr(database.execute("SELECT * FROM audit").fetchall())
    expect("echoes" in audit and "echoes" in events and "echoes" in log, "what was done is in no log")
    for name, mark in marks.items():
        for place, text in {"log": log, "events": events, "audit log": audit, "problems": "".join(problems)}.items():
            expect(mark not in text, lambda: f"the {name} is in the {place}: …{around(text, mark)}…")
    return f"{len(marks)} canaries; {len(log) >> 10} KiB of log, {len(problems)} problems"


def around(text, mark):
    place = text.index(mark)
    return text[max(0, place - 200):place + 60]


@check("a core dump has no guest memory; with the sandbox there is none")
def cores():
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or "|" in pattern:
        raise Skipped(f"cores go elsewhere: {pattern}")
    word, key = secrets.token_bytes(8), secrets.token_bytes(8)
    hidden = bytes(a ^ b for a, b in zip(word, key))
    # movabs rax, hidden; movabs rbx, key; xor rax, rbx; mov [0x20000], rax; 1: jmp 1b. The word itself is in no request.
    code = b"\x48\xb8" + hidden + b"\x48\xbb" + key + b"\x48\x31\xd8\x48\x89\x04\x25\x00\x00\x02\x00\xeb\xfe"
    image = base64.b64encode(code).decode()
    for sandbox in ("on", "off"):
        place = processes.scratch_directory("core")
        unlimited = lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        words = [processes.BINARIES / "vmpoold", "--listen", f"unix:{place}/socket", "--no-demo-pool", f"--sandbox={sandbox}"]
        process = processes.start(["prlimit", "--core=unlimited", *words], cwd=place)
        eventually("it listens", lambda: (place / "socket").exists())
        with Client(str(place / "socket")) as client:
            create(client, flat={"mode": "long64_ring3", "code": image}, memory_mib=2)
            eventually("the guest has written its word", lambda: in_guest_memory(process.pid, word))
            # A template's VM has written; its clone shares that.
            declare(client, "clones", image="echo", ready_when="started")
            kept = {(found[0], "dd" in flags) for _, _, name, flags in mappings(process.pid)
                    if (found := re.search("vmpool-template|kvm-vcpu", name))}
            equal(kept, {("vmpool-template", True), ("kvm-vcpu", True)}, "guests' mappings, and whether cores leave them out")
        process.send_signal(signal.SIGABRT)
        equal(process.wait(20), -signal.SIGABRT, "the exit status")
        found = list(place.glob("core*"))
        equal(bool(found), sandbox == "off", f"--sandbox={sandbox}: whether there is a core")
        for core in found:
            expect(word not in core.read_bytes(), "the guest's memory is in the core")
            core.unlink()


def mappings(pid):
    """Where the mappings of a process begin and end, their names and their flags."""
    text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    for start, end, name, flags in re.findall(
            r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)\n(?:\w+:.*\n)*?VmFlags: (.*)$", text, re.M):
        yield int(start, 16), int(end, 16), name, flags.split()


def in_guest_memory(pid, word):
    """Whether the word is in a mapping that core dumps leave out (the flag dd)."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, _, flags in mappings(pid):
            # A stack's guard cannot be read.
            if "dd" in flags and "rd" in flags and end - start <= 64 << 20:
                memory.seek(start)
                if word in memory.read(end - start):
                    return True
    return False

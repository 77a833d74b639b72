"""The log: what it costs when nothing reads it, and what it says first."""
import contextlib
import fcntl
import json
import os
import signal
import stat

from checks.lifecycle import create
from testbed import processes
from testbed.checks import check, equal, eventually, expect
from testbed.client import Client
from testbed.daemon import Daemon, refusal
from testbed.exposition import Exposition

ALLOWED = 10


@contextlib.contextmanager
def server(*options, before=(), **popen):
    """A server on a unix socket, whose log the check reads or not: the process and the socket's path."""
    path = str(processes.scratch_directory("log") / "socket")
    words = [*before, processes.BINARIES / "vmpoold", "--listen", f"unix:{path}", *options]
    process = processes.start(words, **popen)
    try:
        eventually("it listens", lambda: process.poll() is not None or os.path.exists(path))
        equal(process.poll(), None, "the exit status at the start")
        yield process, path
    finally:
        process.kill()
        process.wait()


@check("a log that is not read holds up neither requests, nor VMs, nor the end")
def unread():
    reading, writing = os.pipe()
    try:
        with server("--no-demo-pool", stderr=writing) as (process, path), Client(path) as client:
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
            # Some 3 kB of log each: more than the pipe and the buffer take.
            long = "/" + "x" * 3000
            for _ in range(600):
                equal(client.get(long).status, 404, "a request")
            vm = create(client, image="spin")
            equal(client.post(f"{vm}/kick").status, 200, "a kick")
            equal(client.delete(vm).status, 204, "deleting")
            dropped = Exposition.of(client).total("vmpool_log_lines_dropped_total")
            expect(dropped > 0, "no line was dropped")
            process.send_signal(signal.SIGTERM)
            equal(process.wait(ALLOWED), 0, "the exit status")
        return f"{dropped:.0f} lines dropped"
    finally:
        os.close(reading)
        os.close(writing)


@check("a log that is read again is whole, and says how much is missing")
def read_again():
    reading, writing = os.pipe()
    with server("--no-demo-pool", "--log-format", "json", stderr=writing) as (process, path), Client(path) as client:
        os.close(writing)
        long = "/" + "x" * 3000
        for _ in range(600):
            client.get(long)
        dropped = Exposition.of(client).total("vmpool_log_lines_dropped_total")
        process.send_signal(signal.SIGTERM)
        with open(reading, "rb") as log:
            entries = [json.loads(line) for line in log]
        equal(process.wait(ALLOWED), 0, "the exit status")
    told = sum(int(entry["lines"]) for entry in entries if entry["message"].startswith("log lines were dropped"))
    requests = sum(entry["message"] == "request" for entry in entries)
    expect(told >= dropped > 0, lambda: f"{told} lines are said to be missing, {dropped} were counted")
    # One is the request for the metric. Others may have been dropped after it.
    expect(requests + told >= 601, lambda: f"{requests} requests and {told} lines are not the 601 there were")


@check("a server whose first three descriptors are closed writes its log over no file")
def closed():
    state = processes.scratch_directory("state")
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    with server("--state-dir", state, before=closing) as (process, path), Client(path) as client:
        equal(client.get("/livez").status, 200, "a request")
        for number in range(3):
            equal(os.readlink(f"/proc/{process.pid}/fd/{number}"), "/dev/null", f"descriptor {number}")
        process.send_signal(signal.SIGTERM)
        equal(process.wait(ALLOWED), 0, "the exit status")
    for file in state.iterdir():
        if stat.S_ISREG(file.stat().st_mode):
            expect(b"livez" not in file.read_bytes() or file.suffix == ".db", f"{file} has lines of the log")
    equal((state / "vmpool.lock").read_text().strip(), str(process.pid), "what vmpool.lock says")


@check("the start says the version, where the state is, the limits, and what to type next")
def first_lines():
    state = processes.scratch_directory("state")
    with Daemon("--state-dir", state) as daemon:
        lines = daemon.log.splitlines()
        equal(len(lines), 5, f"the lines: {lines}")
        version = daemon.client().get("/v1/host").json["version"]
        for line, words in zip(lines, ((f"vmpoold {version}", "kicks vCPUs by"), (str(state),), ("confined: ",),
                                       ("limits:", "MiB of guest memory"), ("listening on", "next="))):
            for word in words:
                expect(word in line, lambda: f"no {word!r} in {line!r}")
        command = lines[4].split('next="')[1].rstrip('"').split()
        equal(command[:3], ["vmpool", "run", "demo"], "what to type")
        result = processes.run([processes.BINARIES / command[0], *command[1:], "--wait", "10s"])
        equal((result.returncode, result.stdout.strip()), (0, "Hello from vmpool"), f"what it prints; {result.stderr}")
    socket = processes.scratch_directory("log") / "a socket; id"
    with Daemon("--no-demo-pool", listen=("127.0.0.1:0", f"unix:{socket}")) as daemon:
        expect(f"vmpool host --server 'unix:{socket}'" in daemon.log, lambda: f"the path is not quoted: {daemon.log}")
    with Daemon("--no-demo-pool") as daemon:
        expect("--state-dir DIR keeps it" in daemon.log, "it does not say that the state is lost")
        expect('next="vmpool host' in daemon.log, "it says to run a pool that is not there")


@check("what keeps it from starting is an entry of the log where the log is JSON")
def refused():
    cases = ((["--nonsense"], 64), (["--max-vms", "0"], 64), (["--listen", "0.0.0.0:0"], 64),
             (["--state-dir", "/proc/none"], 73), (["--config", "/nonexistent"], 66), (["--log-level", "loud"], 64))
    for words, status in cases:
        for format in (["--log-format", "json"], ["--log-format=json"]):
            code, said = refusal(*words, *format)
            equal(code, status, f"the exit status for {words}: {said}")
            entry = json.loads(said.splitlines()[-1])
            expect(entry["level"] == "critical" and entry["message"], lambda: f"{words}: {entry}")
    code, said = refusal("--help", "--log-format", "json")
    expect(code == 0 and said.startswith("OVERVIEW"), "--help is not for the log")

"""A vmpoold under test."""
import os
import pathlib
import re
import signal
import subprocess
import time
import uuid

from testbed import processes
from testbed.checks import Failure, becomes, equal, eventually, expect
from testbed.client import Client


class Daemon:
    """A server with options of its own, on a port that the kernel chose.

    Used as a context, it is stopped at the end. One that does not stop cleanly then, or ended before without being
    asked for its exit status, fails the check.
    """

    def __init__(self, *options, listen=("127.0.0.1:0",), before=(), **popen):
        """`before` are the words of a command that runs the server."""
        self.directory = processes.scratch_directory("daemon")
        self.log_path = self.directory / "log"
        words = [word for address in listen for word in ("--listen", address)]
        command = [*before, processes.BINARIES / "vmpoold", *words, *options]
        with self.log_path.open("wb") as log:
            self.process = processes.start(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **popen)
        self.clients = []
        self.awaited = False
        try:
            self.addresses = self._wait_until_listening(max(1, len(listen)))
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _wait_until_listening(self, count):
        def probe():
            status = self.process.poll()
            expect(status is None, lambda: f"vmpoold exited with {status} instead of starting: {self.log}")
            found = re.findall(r'listening on ([^\s"]+)', self.log)
            return found if len(found) >= count else None

        return [parsed(text) for text in eventually("vmpoold listens", probe)]

    @property
    def address(self):
        return self.addresses[0]

    @property
    def url(self):
        return "http://%s:%d" % self.address

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def client(self, address=None, timeout=30):
        """A client that is closed with the server at the latest."""
        client = Client(address or self.address, timeout)
        self.clients.append(client)
        return client

    def log_so_far(self):
        """The log, complete up to now: lines are written a few milliseconds after they are made, in order."""
        mark = f"/mark-{uuid.uuid4()}"
        with Client(self.address) as client:
            client.get(mark)
        eventually("the log is written", lambda: mark in self.log)
        return self.log

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for client in self.clients:
            client.close()
        if kind is not None:
            self.process.kill()
            self.process.wait()
            return
        if self.awaited:
            return
        status = self.stop()
        expect(status == 0, lambda: f"vmpoold exited with {status}; its log ends {self.log[-1000:]}")

    def stop(self, number=signal.SIGTERM):
        """The exit status after a signal; a server that is gone already gives its own."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self, seconds=20):
        self.awaited = True
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure(f"vmpoold did not exit within {seconds} s; its log ends {self.log[-1000:]}")

    # What the kernel knows of it.

    def descriptors(self):
        """The open descriptors by what they are, numbers of sockets and pipes left out."""
        counts = {}
        for entry in os.scandir(f"/proc/{self.pid}/fd"):
            try:
                name = re.sub(r"\d+", "N", os.readlink(entry.path))
            except FileNotFoundError:
                continue
            counts[name] = counts.get(name, 0) + 1
        return counts

    def threads(self):
        """The threads by name, those of VMs without the VM's id, without worker threads, which start when they are first needed and are bounded in number.
        The dispatch library would have threads of its own, which the server does not use."""
        counts = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            try:
                name = re.sub(r"^vm-[0-9a-f]+/", "vm/", (task / "comm").read_text().strip())
            except (FileNotFoundError, ProcessLookupError):
                continue
            if not re.search(
                    r"^(api|scrape|departures|http-disk|refill|retirement|resets|messages|probes|templates|events|blob-trash)-\d+$",
                    name):
                counts[name] = counts.get(name, 0) + 1
        return counts

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10

    def anonymous_bytes(self):
        """Resident memory that is no file's."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) << 10

    def guest_nanoseconds(self):
        """Processor time that the vCPU threads have used."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            if (task / "comm").read_text().startswith("vm-"):
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def expect_idle(self, client, what):
        """The vCPU threads use no processor time at all while some requests are answered."""

        def probe():
            before = self.guest_nanoseconds()
            for _ in range(20):
                client.get("/v1/vms")
            return self.guest_nanoseconds() - before

        becomes(0, f"processor time used by {what}", probe)

    def holdings(self):
        """All that a request might leak, but memory. Closes the connections of the server's clients here, which open
        them again when they need them."""
        for client in self.clients:
            client.close()
        with Client(self.address) as client:
            self._start_what_starts_late(client)
            pools = lambda: client.get("/v1/pools").json["items"]
            eventually("the pools are filled", lambda: all(map(is_filled, pools())))
            vms = sorted(vm["id"] for vm in client.get("/v1/vms?limit=1000").json["items"])
        # The connection just closed is the server's, too, until it notices.
        becomes(0, "open connections", self.connections)
        return {"descriptors": self.descriptors(), "threads": self.threads(), "vms": vms}

    def _start_what_starts_late(self, client):
        """The first VM starts a thread that stays.
        Nothing is to be seen where the server takes no VM."""
        if "answers" in self.threads():
            return
        made = client.post("/v1/vms", {"image": "spin", "deadline_ms": 3_600_000})
        if made.status == 201:
            client.delete("/v1/vms/" + made.json["id"])
            eventually("the thread is there", lambda: "answers" in self.threads())

    def connections(self):
        """TCP connections to the server that are open on its side."""
        if isinstance(self.address, str):
            return 0
        port = f"{self.address[1]:04X}"
        lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
        fields = [line.split() for line in lines]
        return sum(1 for field in fields if field[1].endswith(":" + port) and field[3] in ("01", "08"))

    def expect_unchanged(self, before, what):
        """Whatever happened, the server holds what it held before."""
        equal(self.process.poll(), None, "the server's exit status")
        becomes(before, f"what the server holds after {what}", self.holdings)


def is_filled(pool):
    status = pool["status"]
    return status["creating"] == status["resetting"] == status["retiring"] == 0 and status["ready"] == pool["ready"]["max"]


def parsed(text):
    """A listen address as the log writes it: (host, port), or the path of a unix socket."""
    if text.startswith("unix:"):
        return text.removeprefix("unix:")
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def refusal(*options, before=(), timeout=20, **popen):
    """Runs a server that is not to start: its exit status and what it said."""
    began = time.monotonic()
    result = processes.run([*before, processes.BINARIES / "vmpoold", *options], timeout=timeout, **popen)
    expect(time.monotonic() - began < timeout, "the refusal took too long")
    return result.returncode, (result.stdout + result.stderr).strip()

"""GET /v1/events: nobody misses one without being told, and nobody who is slow or gone is in the way."""
import contextlib
import http.client
import json
import socket
import time

from checks.slow_clients import reset
from checks.stopping import ALLOWED, PROMISED
from testbed import problems, processes
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.client import Client, connect
from testbed.daemon import Daemon

SUBSCRIBERS = 64


class Listener:
    """A connection that reads events."""

    def __init__(self, address, query="", last_id=None, timeout=30):
        self.client = Client(address, timeout)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        self.client.connection.request("GET", "/v1/events" + query, headers=headers)
        self.response = self.client.connection.getresponse()
        self.last_id, self.comments = None, 0
        if self.response.status == 200:
            equal(self.response.headers["Content-Type"], "text/event-stream", "Content-Type")
            equal(self.response.headers["Cache-Control"], "no-store", "Cache-Control")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def line(self):
        line = self.response.readline().decode()
        if line.startswith("id: "):
            self.last_id = line[4:].strip()
        if line.startswith(":"):
            self.comments += 1
        return line

    def begin(self):
        """Reads as far as the server says where events are."""
        while self.last_id is None:
            expect(self.line(), "the stream ended before it began")
        return self

    def next(self):
        """The next event; None at the regular end of the stream."""
        while line := self.line():
            if line.startswith("data: "):
                event = json.loads(line[6:])
                equal(list(event), ["type", "at", "pool", "vm", "lease", "reason", "exit_code", "detail"], "the members of an event")
                return event
        return None

    def types(self, count):
        return [self.next()["type"] for _ in range(count)]

    def rest(self):
        return list(iter(self.next, None))


def declare(client, name, times=1):
    for _ in range(times):
        answer = client.put(f"/v1/pools/{name}", {"image": "spin", "ready": 0})
        expect(answer.status in (200, 201), lambda: f"declaring {name}: {answer}")


@check("who comes back goes on where it was, or is told to read again")
def resuming():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        with Listener(daemon.address).begin() as listener:
            declare(client, "one", 2)
            equal(client.delete("/v1/pools/one").status, 204, "deleting a pool")
            equal(listener.types(3), ["pool.declared", "pool.changed", "pool.deleted"], "the events")
            seen = listener.last_id
        declare(client, "two")
        declare(client, "three")
        with Listener(daemon.address, last_id=seen) as listener:
            equal([listener.next()["pool"] for _ in range(2)], ["two", "three"], "what was missed")
            declare(client, "four")
            equal(listener.next()["pool"], "four", "what came then")
        # The header of a browser that comes back outdoes the address it came with first.
        with Listener(daemon.address, f"?last_event_id={seen}&pool=three&limit=1") as listener:
            equal([event["pool"] for event in listener.rest()], ["three"], "the events of a pool, as many as wanted")
        declare(client, "many", 16_400)
        with Listener(daemon.address, f"?last_event_id={seen}&timeout_ms=100") as listener:
            equal([event["type"] for event in listener.rest()], ["reset"], "beyond what is remembered")
            last = listener.last_id
        address = "%s:%d" % daemon.address
    with Daemon("--no-demo-pool", listen=(address,)) as daemon:
        with Listener(daemon.address, last_id=last) as listener:
            equal(listener.types(1), ["reset"], "after a new start of the server")
            declare(daemon.client(), "five")
            equal(listener.types(1), ["pool.declared"], "what comes after the reset")


@check("a comment comes every so often and tells how far events are")
def heartbeat():
    with Daemon("--event-heartbeat", "1") as daemon:
        with Listener(daemon.address, "?pool=quiet").begin() as listener:
            before = listener.last_id
            declare(daemon.client(), "loud")
            while listener.comments < 2 or listener.last_id == before:
                expect(listener.line(), "the stream ended")
            return f"{listener.comments} comments"


@check("a client that does not read is dropped, and keeps nobody waiting")
def slow():
    with Daemon("--no-demo-pool") as daemon:
        before = daemon.holdings()
        client = daemon.client()
        client.get("/livez")
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(daemon.address)
        plain.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with plain, Listener(daemon.address).begin() as listener:
            becomes(2, "streams", lambda: streams(daemon))
            published = 0
            slowest = 0.0
            while streams(daemon) == 2:
                expect(published < 8_000, "the slow client is never dropped")
                for _ in range(50):
                    began = time.monotonic()
                    declare(client, "p")
                    slowest = max(slowest, time.monotonic() - began)
                published += 50
                equal(set(listener.types(50)) - {"pool.declared"}, {"pool.changed"}, "what the other one reads")
            equal(streams(daemon), 1, "streams after the slow one was dropped")
            expect(slowest < 5, f"declaring a pool took {slowest:.1f} s meanwhile")
        client.delete("/v1/pools/p")
        daemon.expect_unchanged(before, "a slow client")
        eventually("there is an access record of the stream", lambda: "/v1/events" in daemon.log)
        return f"after {published} events"


def streams(daemon):
    """Connections on the server's side, but the one of the client that declares pools."""
    return daemon.connections() - 1


@check("those who leave make room for others")
def leaving():
    with Daemon("--no-demo-pool") as daemon:
        before = daemon.holdings()
        for _ in range(20):
            # Nothing is sent to those who have left before: the server notices by itself.
            listeners = [eventually("there is room", lambda: seated(daemon)) for _ in range(SUBSCRIBERS)]
            with Listener(daemon.address) as refused:
                equal(refused.response.status, 503, "one too many")
                equal(refused.response.headers["Retry-After"], "1", "Retry-After")
            for number, listener in enumerate(listeners):
                leave(listener, number % 3)
        daemon.expect_unchanged(before, "all of it")
        return f"{20 * SUBSCRIBERS} streams"


def leave(listener, how):
    plain = listener.client.connection.sock
    if how == 0:
        reset(plain)
    elif how == 1:
        plain.shutdown(socket.SHUT_WR)
        with contextlib.suppress(http.client.IncompleteRead):
            listener.response.read()
    listener.client.close()


def seated(daemon):
    listener = Listener(daemon.address)
    if listener.response.status == 200:
        return listener.begin()
    listener.client.close()
    return None


@check("a stop ends streams in good time, idle, busy and slow ones")
def stopping():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        idle = [Listener(daemon.address).begin() for _ in range(20)]
        slow = [connect(daemon.address) for _ in range(5)]
        for plain in slow:
            plain.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        declare(client, "p", 200)
        for listener in idle:
            equal(len(listener.types(200)), 200, "events before the stop")
        began = time.monotonic()
        equal(daemon.stop(), 0, "the exit status")
        took = time.monotonic() - began
        # A chunked body that is cut off would raise.
        for listener in idle:
            equal(listener.rest(), [], "what the stop leaves")
            listener.client.close()
        for plain in slow:
            plain.close()
        expect(took < ALLOWED, f"it took {took:.1f} s")
        return f"{took:.2f} s" + ("" if took < PROMISED else f", more than the {PROMISED} s promised")


@check("parameters that make no sense, HEAD, and other methods")
def refusals():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for query in ("pool=A", "vm=x", "limit=0", "limit=1000001", "timeout_ms=0", "types=vm", "pool=a&pool=b"):
            problems.expect_problem(client.get("/v1/events?" + query), "invalid-parameter", query)
        problems.expect_problem(client.post("/v1/events"), "method-not-allowed", "POST")
        head = client("HEAD", "/v1/events")
        equal((head.status, head.body, head.headers["Content-Type"]), (200, b"", "text/event-stream"), "HEAD")
        equal(client.get("/livez").status, 200, "the next request")


@check("vmpool events prints them, and goes on after the server was gone")
def command_line():
    with Daemon("--no-demo-pool") as daemon:
        address = "%s:%d" % daemon.address
        command = [processes.BINARIES / "vmpool", "events", "--json", "--server", address]
        log = processes.scratch_directory("events") / "stderr"
        with log.open("wb") as errors:
            process = processes.start(command, stdout=-1, stderr=errors, text=True)
        try:
            client = daemon.client()
            # It is there once its stream is.
            eventually("vmpool listens", lambda: daemon.connections() == 1)
            declare(client, "one")
            first = json.loads(process.stdout.readline())
            equal((first["type"], first["pool"]), ("pool.declared", "one"), "the first line")
            daemon.stop()
            eventually("it says so", lambda: "trying again in" in log.read_text())
            with Daemon("--no-demo-pool", listen=(address,)) as again:
                equal(json.loads(process.stdout.readline())["type"], "reset", "the first line from the new server")
                declare(again.client(), "two")
                equal(json.loads(process.stdout.readline())["pool"], "two", "the next one")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

"""Clients that are slow, many, or gone."""
import contextlib
import socket
import struct
import threading
import time

from testbed import problems
from testbed.checks import becomes, check, equal
from testbed.client import Client, connect, read_answer
from testbed.daemon import Daemon

KICK = b"POST %s/kick HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{\"timeout_ms\": 60000}"


def reset(plain):
    """Closes a connection without a goodbye."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


@check("bodies that never come, or come a byte at a time, end with 408; heads that never end are closed")
def never():
    with Daemon() as daemon:
        before = daemon.holdings()
        began = time.monotonic()
        head = b"POST /v1/vms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n"
        waiting = [connect(daemon.address, 60) for _ in range(20)]
        for plain in waiting:
            plain.sendall(head + b'{"image"')
        drops = [connect(daemon.address, 60) for _ in range(2)]
        for plain in drops:
            plain.sendall(head)
        halves = [connect(daemon.address, 60) for _ in range(2)]
        for plain in halves:
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: local")
        # A byte now and then must not keep a request alive.
        feeder = threading.Thread(target=feed, args=(drops, began + 50), daemon=True)
        feeder.start()
        # Everybody else is served meanwhile.
        vm = daemon.client().post("/v1/vms", {"image": "spin"})
        equal(vm.status, 201, "creating a VM meanwhile")
        equal(daemon.client().delete("/v1/vms/" + vm.json["id"]).status, 204, "deleting it")
        for plain in waiting + drops:
            with plain, plain.makefile("rb") as stream:
                problems.expect_problem(read_answer(stream), "request-timeout", "a body that never came")
                equal(stream.read(), b"", "what follows the 408")
        for plain in halves:
            with plain:
                while plain.recv(4096):
                    pass
        waited = time.monotonic() - began
        feeder.join(60)
        daemon.expect_unchanged(before, "all of it")
    return f"after {waited:.0f} s"


def feed(drops, end):
    while time.monotonic() < end:
        for plain in drops:
            with contextlib.suppress(OSError):
                plain.sendall(b" ")
        time.sleep(0.5)
        if all(plain.fileno() < 0 for plain in drops):
            return


@check("clients that go away in the middle leave nothing behind")
def gone():
    with Daemon() as daemon:
        client = daemon.client()
        vm = "/v1/vms/" + client.post("/v1/vms", {"image": "spin", "vcpus": 2}).json["id"]
        path = vm.encode()
        pieces = [
            b"",
            b"GET",
            b"GET /v1/vms HTTP/1.1\r\nHost: loc",
            b"POST /v1/vms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n",
            b"POST /v1/vms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{\"image\"",
            b"POST /v1/vms HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"im",
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20,
            KICK % path,
        ]
        before = daemon.holdings()
        for leave in (reset, socket.socket.close):
            for piece in pieces * 5:
                plain = connect(daemon.address)
                plain.sendall(piece)
                leave(plain)
        # A VM may have been created by a request whose client did not wait for the answer; here none was complete.
        daemon.expect_unchanged(before, "all of it")
        equal(client.post(f"{vm}/kick", {"timeout_ms": 20000}).status, 200, "a kick afterwards")


@check("a hundred connections at once")
def hundred():
    with Daemon() as daemon:
        vm = "/v1/vms/" + daemon.client().post("/v1/vms", {"image": "spin"}).json["id"]
        before = daemon.holdings()
        plains = [connect(daemon.address) for _ in range(100)]
        becomes(100, "open connections", daemon.connections)
        head = f"POST {vm}/vcpus/0/kick HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
        for round in range(3):
            for plain in plains:
                plain.sendall(head)
            streams = [plain.makefile("rb") for plain in plains]
            statuses = [read_answer(stream).status for stream in streams]
            equal(statuses, [200] * 100, f"the answers of round {round}")
        for plain, stream in zip(plains, streams):
            stream.close()
            plain.close()
        daemon.expect_unchanged(before, "a hundred connections")

        statuses = []
        workers = [threading.Thread(target=live, args=(daemon.address, statuses)) for _ in range(100)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        equal(sorted(statuses), sorted([201, 200, 204] * 100), "the answers")
        daemon.expect_unchanged(before, "a hundred VMs made at once")


def live(address, statuses):
    """Creates, kicks and deletes a VM on a connection of its own."""
    with Client(address, 120) as client:
        created = client.post("/v1/vms", {"image": "halt", "start": False})
        vm = "/v1/vms/" + created.json["id"]
        statuses += [created.status, client.post(f"{vm}/kick").status, client.delete(vm).status]

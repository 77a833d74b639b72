"""Kicks of vCPUs that do not get a processor: they time out or are waited for, and hold up nobody else."""
import threading

from checks.lifecycle import create
from checks.slow_clients import reset
from testbed import problems
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.client import Client, connect
from testbed.daemon import Daemon
from testbed.exposition import Exposition
from testbed.held import held, threads, vcpu_thread
from testbed.pools import Asking, declare, lease, path
from testbed.starvation import starved


@check("a kick past its deadline gets 504 and is counted; the next one works")
def timeout():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client(timeout=90)
        vm = create(client, image="spin")
        with starved(daemon):
            timeouts, generations = 0, []

            def one():
                answer = client.post(f"{vm}/vcpus/0/kick", {"timeout_ms": 1})
                if answer.status == 504:
                    problems.expect_problem(answer, "kick-timeout", "a kick of 1 ms")
                else:
                    generations.append(answer.json["generation"])
                return answer.status

            statuses = []
            eventually("five kicks time out", lambda: statuses.append(one()) or statuses.count(504) >= 5, 60)
            timeouts = statuses.count(504)
            late = client.post(f"{vm}/vcpus/0/kick", {"timeout_ms": 60000})
            equal(late.status, 200, f"a kick with time: {late}")
        equal(Exposition.of(client).total("vmpool_kicks_total", result="timeout"), timeouts, "timeouts counted")
        equal(Exposition.of(client).total("vmpool_kicks_total", result="ok"), len(generations) + 1, "kicks counted")
        # What was asked for in vain was served in the end: generations go on.
        kick = client.post(f"{vm}/vcpus/0/kick", {"timeout_ms": 60000}).json
        equal(kick["generation"], late.json["generation"] + 1, "the next generation")
        equal(client.delete(vm).status, 204, "deleting")


@check("requests that wait keep no thread of the server's from serving others")
def suspended():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="spin", vcpus=8)
        with starved(daemon):
            statuses = []
            workers = [threading.Thread(target=kick, args=(daemon.address, vm, statuses)) for _ in range(32)]
            for worker in workers:
                worker.start()
            becomes(33, "connections", daemon.connections)
            served = 0
            while len(statuses) < len(workers):
                equal(client.get("/v1/vms").status, 200, "the list meanwhile")
                served += 1
            for worker in workers:
                worker.join()
        equal(statuses, [200] * len(workers), "the kicks")
        equal(client.delete(vm).status, 204, "deleting")
        return f"{served} requests served meanwhile"


def kick(address, vm, statuses):
    with Client(address, 120) as client:
        statuses.append(client.post(f"{vm}/kick", {"timeout_ms": 60000}).status)


@check("clients that go away while they wait leave nothing behind")
def gone():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="spin", vcpus=8)
        before = daemon.holdings()
        body = b'{"timeout_ms": 60000}'
        head = f"POST {vm}/kick HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with starved(daemon):
            plains = [connect(daemon.address) for _ in range(20)]
            for plain in plains:
                plain.sendall(head + body)
            for plain in plains[::2]:
                reset(plain)
            for plain in plains[1::2]:
                plain.close()
        daemon.expect_unchanged(before, "clients that did not wait")


@check("requests at a vCPU that does not come back cost no thread, and delay no lease, deadline or scrape")
def held_vcpu():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="spin")
        thread = vcpu_thread(daemon)
        declare(client, "p", ready=1, max_vms=2)
        client.get("/metrics")
        before = len(threads(daemon, ""))
        with held(thread):
            pausing = Asking(daemon.address, "POST", f"{vm}/pause")
            becomes("paused", "what is asked for", lambda: client.get(vm).json["state"])
            plains = [ask(daemon.address, "POST", f"{vm}/vcpus/0/kick", b'{"timeout_ms": 60000}') for _ in range(300)]
            plains += [ask(daemon.address, "GET", f"{vm}/vcpus/0/registers") for _ in range(20)]
            becomes(len(plains) + 2, "connections", daemon.connections)
            # Each thread of the server's has come round to them when it has answered this.
            for _ in range(4):
                with Client(daemon.address) as other:
                    equal(other.get("/livez").status, 200, "/livez")
            taken = lease(client, "p", ttl_ms=300)
            equal(client.get("/metrics").status, 200, "/metrics")
            becomes(410, "the lease whose time is up", lambda: client.get(path(taken)).status)
            equal(client.get(f"{vm}?wait_for=stopped&timeout_ms=50").status, 200, "waiting until a deadline")
            added = len(threads(daemon, "")) - before
            expect(added <= 24, lambda: f"{added} threads for {len(plains)} requests that wait")
            # A later opposite request stands, whenever the first is answered.
            resuming = Asking(daemon.address, "POST", f"{vm}/resume")
            becomes("running", "what is asked for", lambda: client.get(vm).json["state"])
        for plain in plains[:300]:
            with plain:
                expect(plain.recv(64).startswith(b"HTTP/1.1 200 "), "a kick is answered when the vCPU comes back")
        for plain in plains[300:]:
            plain.close()
        equal((pausing.result().status, resuming.result().status), (200, 200), "pausing and resuming")
        equal(client.get(vm).json["state"], "running", "the VM")
        equal(client.delete(vm).status, 204, "deleting")


def ask(address, method, target, body=b""):
    plain = connect(address)
    plain.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return plain

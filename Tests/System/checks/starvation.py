"""Kicks of vCPUs that do not get a processor: they time out or are waited for, and hold up nobody else."""
import threading

from checks.lifecycle import create
from checks.slow_clients import reset
from testbed import problems
from testbed.checks import becomes, check, equal, eventually
from testbed.client import Client, connect
from testbed.daemon import Daemon
from testbed.exposition import Exposition
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

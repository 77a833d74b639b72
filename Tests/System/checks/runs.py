"""POST /v1/pools/{pool}/run: lease, start, feed, wait, collect and release, in one call."""
import base64
import json

from testbed import problems
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.client import connect
from testbed.daemon import Daemon
from testbed.pools import Asking, declare, filled, status

MEMBERS = {"vm", "outcome", "exit_code", "detail", "console", "console_base64", "console_bytes", "exits", "duration_ns"}
END = "\x04"


def run(client, pool, **document):
    answer = client.post(f"/v1/pools/{pool}/run", document)
    equal(answer.status, 200, f"running {pool} with {document}: {answer}")
    equal(set(answer.json), MEMBERS, "its members")
    equal(client.get("/v1/vms/" + answer.json["vm"]).status, 404, "the VM it ran on, once it is told of")
    return answer.json


def outcome(document):
    return document["outcome"], document["exit_code"], document["console"]


@check("hello, halt, echo, pio and spin: outcome, exit code, console, exits, and nothing left")
def guests():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for image in ("hello", "halt", "echo", "pio", "spin"):
            declare(client, image, image=image, ready=2)
        before = daemon.holdings()
        hello = run(client, "hello")
        equal(outcome(hello), ("exited", 0, "Hello from vmpool\n"), "what became of hello")
        equal((hello["console_bytes"], hello["console_base64"], hello["detail"]), (18, None, None), "the rest of it")
        expect(hello["exits"]["io"] >= 18 and hello["duration_ns"] > 0, lambda: f"hello: {hello}")
        equal(outcome(run(client, "halt")), ("halted", None, ""), "what became of halt")
        for image, reason in (("pio", "io"), ("spin", "intr")):
            document = run(client, image, deadline_ms=100)
            equal(outcome(document), ("deadline", None, ""), f"what became of {image}")
            expect(document["duration_ns"] >= 100_000_000, lambda: f"the deadline came early: {document}")
            expect(document["exits"].get(reason, 0) > 0, lambda: f"no exit for {reason}: {document}")

        text = "grüße\n" * 50 + END
        equal(outcome(run(client, "echo", input=text)), ("exited", 0, text.removesuffix(END)), "what became of echo")
        raw = bytes(range(5, 256)) + b"\n"
        document = run(client, "echo", input_base64=base64.b64encode(raw + b"\4").decode(), wait_ms=10_000)
        equal(base64.b64decode(document["console_base64"]), raw, "the console's bytes")
        equal(document["console_bytes"], len(raw), "how many")
        expect("\N{REPLACEMENT CHARACTER}" in document["console"], "what is no UTF-8 is not shown as such")
        # An echo that is never told the end reads on.
        equal(outcome(run(client, "echo", input="a", deadline_ms=100, wait_ms=10_000)), ("deadline", None, "a"), "echo")
        equal(client.get("/v1/leases").json["items"], [], "leases")
        daemon.expect_unchanged({**before, "vms": daemon.holdings()["vms"]}, "runs")


@check("what cannot be run is refused before a VM is taken")
def refused():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "echo", image="echo")
        vms = client.get("/v1/vms").json["items"]
        for body, pointer in (
            ({"input": "a", "input_base64": "YQ=="}, "/input_base64"), ({"input_base64": "YQ"}, "/input_base64"),
            ({"input_base64": "Y Q="}, "/input_base64"), ({"input": "a" * 65_537}, "/input"), ({"input": 1}, "/input"),
            ({"deadline_ms": 0}, "/deadline_ms"), ({"deadline_ms": 86_400_001}, "/deadline_ms"),
            ({"wait_ms": -1}, "/wait_ms"), ({"ttl_ms": 1}, "/ttl_ms"),
        ):
            answer = client.post("/v1/pools/echo/run", body)
            document = problems.expect_problem(answer, "invalid-member", f"running with {str(body)[:80]}")
            equal(document["pointer"], pointer, f"where, for {str(body)[:80]}")
        equal(client.get("/v1/vms").json["items"], vms, "the VMs")
        longest = run(client, "echo", input="a" * 65_535 + END, deadline_ms=100)
        expect(0 < longest["console_bytes"] <= 65_535, lambda: f"the longest input: {longest['console_bytes']} bytes")


@check("runs wait their turn, and an exhausted pool is a 429")
def waiting():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "single", image="echo", max_vms=1)
        first = Asking(daemon.address, "POST", "/v1/pools/single/run", {"deadline_ms": 60_000})
        becomes(1, "leases", lambda: status(client, "single")["leased"])
        problems.expect_problem(client.post("/v1/pools/single/run"), "pool-exhausted", "a run without a VM")
        runs = [
            Asking(daemon.address, "POST", "/v1/pools/single/run", {"input": f"{number}{END}", "wait_ms": 60_000})
            for number in range(20)
        ]
        becomes(20, "runs that wait", lambda: status(client, "single")["waiting"])
        taken = client.get("/v1/leases").json["items"][0]
        equal(taken["labels"], {"for": "run"}, "the labels of a run's lease")
        equal(client.post(f"/v1/vms/{taken['vm']}/stop").json["state"], "stopped", "stopping the first")
        equal(outcome(first.result().json), ("killed", None, ""), "what became of the first")
        # Each has its own output, and nobody else's.
        equal([outcome(one.result().json) for one in runs], [("exited", 0, str(number)) for number in range(20)], "runs")


@check("a VM that is deleted under its run has been killed, and a pool that is deleted with force, too")
def deleted():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "spin", ready=1)
        asking = Asking(daemon.address, "POST", "/v1/pools/spin/run", {"deadline_ms": 60_000})
        taken = eventually("it runs", lambda: client.get("/v1/leases").json["items"])[0]
        equal(client.delete("/v1/vms/" + taken["vm"]).status, 204, "deleting the VM")
        equal(asking.result().json["outcome"], "killed", "what became of it")
        asking = Asking(daemon.address, "POST", "/v1/pools/spin/run", {"deadline_ms": 60_000, "wait_ms": 10_000})
        eventually("it runs", lambda: client.get("/v1/leases").json["items"])
        equal(client.delete("/v1/pools/spin?force=true").status, 204, "deleting the pool")
        equal(asking.result().json["outcome"], "killed", "what became of it")


@check("a client that disconnects has its VM taken back at once, and leaves the queue")
def gone():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "spin", ready=2, max_vms=2)
        before = daemon.holdings()
        body = json.dumps({"deadline_ms": 86_400_000, "wait_ms": 600_000}).encode()
        head = b"POST /v1/pools/spin/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        for _ in range(10):
            plains = [connect(daemon.address) for _ in range(6)]
            for plain in plains:
                plain.sendall(head + body)
            becomes([2, 4], "runs and those that wait", lambda: [status(client, "spin")[key] for key in ("leased", "waiting")])
            for plain in plains:
                plain.close()
            becomes([0, 0], "runs and those that wait", lambda: [status(client, "spin")[key] for key in ("leased", "waiting")])
            filled(client, "spin")
        daemon.expect_unchanged({**before, "vms": daemon.holdings()["vms"]}, "clients that left their runs")

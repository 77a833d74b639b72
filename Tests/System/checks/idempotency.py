"""Idempotency-Key: what was asked twice is done once."""
import random
import time

from testbed import problems, processes
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.client import connect
from testbed.daemon import Daemon
from testbed.pools import Asking, declare, lease, path, release, status


def post(client, address, body, key):
    return client("POST", address, body, {"Idempotency-Key": key})


def replayed(answer):
    return answer.headers["Idempotent-Replayed"] == "true"


def expect_replay(client, address, body, key, first):
    again = post(client, address, body, key)
    equal((again.status, again.body, replayed(again)), (first.status, first.body, True), f"{address} under {key} again")
    equal(again.headers["Location"], first.headers["Location"], "Location")
    equal(again.headers["Content-Type"], first.headers["Content-Type"], "Content-Type")


@check("the same key and body get the same answer, and nothing is done twice")
def same():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "hellos", image="hello", ready=3)
        answers = {}
        for address, body in (("/v1/vms", {"image": "spin"}), ("/v1/pools/hellos/leases", {"start": False}),
                              ("/v1/pools/hellos/run", {})):
            # The key is the request's own: on another path it is another one.
            first = post(client, address, body, "8e03978e-40d5-43dd-bc93-6894a57f9324")
            expect(first.status in (200, 201) and not replayed(first), lambda: f"{address}: {first}")
            answers[address] = (body, first)
        vms = sorted(vm["id"] for vm in client.get("/v1/vms?state=running").json["items"])
        leases = client.get("/v1/leases").json["items"]
        for address, (body, first) in answers.items():
            for _ in range(3):
                expect_replay(client, address, body, "8e03978e-40d5-43dd-bc93-6894a57f9324", first)
            for other in ({**body, "wait_ms": 1}, None, b"[]", b"{"):
                answer = post(client, address, other, "8e03978e-40d5-43dd-bc93-6894a57f9324")
                problems.expect_problem(answer, "idempotency-key-reused", f"another body for {address}")
        equal(sorted(vm["id"] for vm in client.get("/v1/vms?state=running").json["items"]), vms, "the VMs made")
        equal(client.get("/v1/leases").json["items"], leases, "the leases granted")
        for key in ("", "two words", "k" * 256, "ключ".encode().decode("latin-1")):
            problems.expect_problem(post(client, "/v1/vms", {"image": "spin"}, key), "bad-request", f"the key {key!r}")


@check("while the first is in progress a second is told so; once it is over, it gets the answer")
def in_progress():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "spins", ready=1, max_vms=1)
        body = {"deadline_ms": 60_000}
        first = Asking(daemon.address, "POST", "/v1/pools/spins/run", body, {"Idempotency-Key": "run"})
        taken = eventually("it runs", lambda: client.get("/v1/leases").json["items"])[0]
        problems.expect_problem(post(client, "/v1/pools/spins/run", body, "run"), "idempotency-key-in-use", "a second")
        problems.expect_problem(post(client, "/v1/pools/spins/run", {}, "run"), "idempotency-key-reused", "another body")
        waiting = Asking(
            daemon.address, "POST", "/v1/pools/spins/leases", {"wait_ms": 60_000}, {"Idempotency-Key": "lease"})
        becomes(1, "those who wait", lambda: status(client, "spins")["waiting"])
        second = post(client, "/v1/pools/spins/leases", {"wait_ms": 60_000}, "lease")
        problems.expect_problem(second, "idempotency-key-in-use", "a second that would wait")
        client.post(f"/v1/vms/{taken['vm']}/stop")
        expect_replay(client, "/v1/pools/spins/run", body, "run", first.result())
        expect_replay(client, "/v1/pools/spins/leases", {"wait_ms": 60_000}, "lease", waiting.result())


@check("what was refused, or whose client left, may be asked for again with the same key")
def again():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        address = "/v1/pools/spins/leases"
        problems.expect_problem(post(client, address, {}, "key"), "pool-not-found", "a lease of no pool")
        declare(client, "spins", ready=1, max_vms=1)
        held = lease(client, "spins")
        for _ in range(2):
            problems.expect_problem(post(client, address, {"wait_ms": 1}, "key"), "pool-exhausted", "no VM")
        problems.expect_problem(post(client, address, {"wait_ms": "x"}, "key"), "invalid-member", "a bad request")
        with connect(daemon.address) as plain:
            body = b'{"wait_ms":60000}'
            plain.sendall(b"POST /v1/pools/spins/leases HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: key\r\n"
                          b"Content-Length: %d\r\n\r\n" % len(body) + body)
            becomes(1, "those who wait", lambda: status(client, "spins")["waiting"])
            problems.expect_problem(post(client, address, body, "key"), "idempotency-key-in-use", "a second")
        becomes(0, "those who wait", lambda: status(client, "spins")["waiting"])
        release(client, held)
        answer = post(client, address, {"wait_ms": 10_000}, "key")
        equal((answer.status, replayed(answer)), (201, False), "the same key in earnest")
        expect_replay(client, address, {"wait_ms": 10_000}, "key", answer)


@check("a client that leaves while its keyed lease is granted: the lease stays, or the key is forgotten")
def leaving():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        address, replays = "/v1/pools/spins/leases", 0
        declare(client, "spins", ready=1, max_vms=1)
        body = b'{"wait_ms":60000}'
        seed = random.randrange(2**32)
        delays = random.Random(seed)
        # How long a VM takes to be replaced, so that about as many clients leave before the grant as after it.
        began = time.monotonic()
        release(client, lease(client, "spins"))
        held = lease(client, "spins", wait_ms=30_000)
        refill = time.monotonic() - began
        for number in range(120):
            key = f"{seed}-{number}"
            with connect(daemon.address) as plain:
                plain.sendall(b"POST %b HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %b\r\nContent-Length: %d\r\n\r\n"
                              % (address.encode(), key.encode(), len(body)) + body)
                becomes(1, "those who wait", lambda: status(client, "spins")["waiting"])
                release(client, held)
                time.sleep(delays.uniform(0, 1.5 * refill))
            again = post(client, address, body, key)
            while again.status == 409:
                again = post(client, address, body, key)
            equal(again.status, 201, f"the same key again (seed {seed}, {number}): {again}")
            equal(client.get(path(again.json)).status, 200, f"the lease that it was told of (seed {seed}, {number})")
            replays += replayed(again)
            held = again.json
        return f"{replays} leases stayed, {120 - replays} keys were forgotten"


def expect_anew(client, address, body, key, first):
    """The same request is done once more, because what the first made has ended; its answer."""
    again = post(client, address, body, key)
    equal((again.status, replayed(again)), (201, False), f"{address} under {key} anew: {again}")
    expect(again.headers["Location"] != first.headers["Location"], f"{address} names what has ended")
    equal(client.get(again.headers["Location"]).status, 200, "what was made anew")
    expect_replay(client, address, body, key, again)
    return again


@check("a key whose lease or VM has ended is forgotten; that of a run is not")
def ended():
    directory = processes.scratch_directory("state")
    vms, leases, runs = "/v1/vms", "/v1/pools/spins/leases", "/v1/pools/hellos/run"
    bodies = {vms: {"image": "spin"}, leases: {"wait_ms": 30_000}, runs: {"wait_ms": 30_000}}
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        client = daemon.client()
        declare(client, "spins", ready=2)
        declare(client, "hellos", image="hello")
        answers = {address: post(client, address, body, "key") for address, body in bodies.items()}
        for address in (vms, leases):
            equal(client.delete(answers[address].headers["Location"]).status, 204, "ending it")
            answers[address] = expect_anew(client, address, bodies[address], "key", answers[address])
        # By its VM, too, and by its time.
        equal(client.delete("/v1/vms/" + answers[leases].json["vm"]).status, 204, "deleting the VM of a lease")
        answers[leases] = expect_anew(client, leases, bodies[leases], "key", answers[leases])
        brief = post(client, leases, {"ttl_ms": 1, "wait_ms": 30_000}, "brief")
        becomes(410, "the lease that expires", lambda: client.get(path(brief.json)).status)
        equal(replayed(post(client, leases, {"ttl_ms": 1, "wait_ms": 30_000}, "brief")), False, "replayed")
        # Of many that ask again at once, one begins.
        release(client, answers[leases].json)
        crowd = [Asking(daemon.address, "POST", leases, bodies[leases], {"Idempotency-Key": "key"}) for _ in range(8)]
        given = [one.result() for one in crowd]
        equal({answer.status for answer in given} - {201, 409}, set(), "what the crowd gets")
        equal(len({answer.json["lease"] for answer in given if answer.status == 201}), 1, "leases of the crowd")
        answers[leases] = next(answer for answer in given if answer.status == 201)
        daemon.process.kill()
        daemon.wait()
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        client = daemon.client()
        problems.expect_problem(client.get(path(answers[leases].json)), "lease-lost", "the lease")
        for address in (vms, leases):
            expect_anew(client, address, bodies[address], "key", answers[address])
        expect_replay(client, runs, bodies[runs], "key", answers[runs])


@check("keys outlive the server where its state does")
def restart():
    directory = processes.scratch_directory("state")
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        client = daemon.client()
        declare(client, "spins", ready=1, max_vms=1)
        body = {"labels": {"job": "4711"}}
        declare(client, "hellos", image="hello")
        done = post(client, "/v1/pools/hellos/run", {}, "done")
        equal(done.status, 200, "a run")
        equal(post(client, "/v1/pools/spins/leases", body, "done").status, 201, "leasing")
        Asking(daemon.address, "POST", "/v1/pools/spins/leases", {"wait_ms": 60_000}, {"Idempotency-Key": "waits"})
        becomes(1, "those who wait", lambda: status(client, "spins")["waiting"])
        daemon.process.kill()
        daemon.wait()
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        client = daemon.client()
        expect_replay(client, "/v1/pools/hellos/run", {}, "done", done)
        problems.expect_problem(post(client, "/v1/pools/spins/leases", {}, "done"), "idempotency-key-reused", "other")
        waits = post(client, "/v1/pools/spins/leases", {"wait_ms": 60_000}, "waits")
        document = problems.expect_problem(waits, "idempotency-key-in-use", "the interrupted request")
        expect("another key" in document["detail"], lambda: f"it does not say what to do: {document}")

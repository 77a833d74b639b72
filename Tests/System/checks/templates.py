"""Pools whose VMs have booted: one VM is booted to the pool's ready point, and the others are clones of it."""
from checks.guests import BYTES, built
from testbed.checks import becomes, check, equal, expect
from testbed.daemon import Daemon
from testbed.pools import declare, filled, lease, release, status

CANARY = "canary?kind=flat&mode=long64_ring3"


def upload(client):
    data = (built() / "canary").read_bytes()
    equal(client("PUT", f"/v1/images/{CANARY}", data, BYTES).status, 201, "uploading the canary")


def console(client, vm):
    return client.get(f"/v1/vms/{vm}/console").body


def ask(client, vm, text, wanted):
    equal(client("POST", f"/v1/vms/{vm}/console", text, BYTES).json["accepted"], len(text), "what the console takes")
    becomes(wanted, "the console", lambda: console(client, vm))


@check("a pool's VMs have booted when they are leased, and know nothing of each other")
def clones():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        upload(client)
        live(client)
        # What the server makes once, it has made now; another life must leave nothing.
        before = daemon.holdings()
        live(client)
        daemon.expect_unchanged(before, "a pool of clones")


def live(client):
    """The life of a pool of clones."""
    declare(client, "booted", "canary", 2, memory_mib=4, ready_when={"console": "ready"})
    template = status(client, "booted")["template"]
    expect(template["state"] == "ready" and template["memory_bytes"] > 0 and template["boot_ms"] >= 0, template)
    pool = client.get("/v1/pools/booted").json
    equal((pool["ready_when"], pool["ready_timeout_ms"]), ({"console": "ready"}, 60_000), "the declaration")
    equal(len(client.get("/v1/vms").json["items"]), 2, "the VMs there are")
    # A text that stands there before the VM is started.
    first, second = (lease(client, "booted", start=False, wait_ms=5000) for _ in range(2))
    equal(console(client, first["vm"]), b"ready", "the console of a VM that was never started")
    for one in first, second:
        equal(client.post(f"/v1/vms/{one['vm']}/start").status, 200, "starting a clone")
    ask(client, first["vm"], b"S", b"readyw")
    ask(client, first["vm"], b"?", b"readywS")
    ask(client, second["vm"], b"?", b"ready.")
    for one in first, second:
        release(client, one)
    filled(client, "booted")
    # Who comes next finds nothing either.
    third = lease(client, "booted", wait_ms=5000)
    ask(client, third["vm"], b"?", b"ready.")
    expect('vmpool_pool_template_ready{pool="booted"} 1' in client.get("/metrics").text, "the template's metric")
    equal(client.delete("/v1/pools/booted?force=true").status, 204, "deleting the pool")
    equal(client.get("/v1/vms").json["items"], [], "the VMs left")


@check("a guest that has booted takes no arguments: 400, and no VM is lost")
def arguments():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "echoes", "echo", 1, ready_when="started")
        for path in ("/v1/pools/echoes/leases", "/v1/pools/echoes/run"):
            answer = client.post(path, {"command_line": "x"})
            equal((answer.status, answer.json.get("pointer")), (400, "/command_line"), f"{answer}")
            expect("have booted already" in answer.json["detail"], answer)
        equal(status(client, "echoes")["ready"], 1, "ready VMs")
        answer = client.post("/v1/pools/echoes/run", {"input": "hello\n\x04", "wait_ms": 5000})
        equal((answer.status, answer.json.get("console")), (200, "hello\n"), f"a run: {answer}")


@check("a template that does not get to its ready point: the pool says why, and mends")
def failures():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        upload(client)
        pool = {"image": "canary", "ready": 1, "memory_mib": 4, "ready_when": {"console": "login:"},
                "ready_timeout_ms": 200}
        equal(client.put("/v1/pools/p", pool).status, 201, "declaring the pool")
        becomes("failed", "the template", lambda: status(client, "p")["template"]["state"])
        refill = status(client, "p")["refill"]
        expect("within 200 ms" in refill["last_error"], refill)
        expect(refill["last_error"].endswith("its console ends with: ready"), refill)
        expect('vmpool_pool_template_ready{pool="p"} 0' in client.get("/metrics").text, "the template's metric")
        equal(client("PATCH", "/v1/pools/p", {"ready_when": {"after_ms": 20}}).status, 200, "mending it")
        filled(client, "p")
        # A guest that ends.
        equal(client.put("/v1/pools/q", {"image": "hello", "ready": 1, "ready_when": {"console": "login:"}}).status, 201,
              "declaring another")
        becomes("failed", "the template", lambda: status(client, "q")["template"]["state"])
        error = status(client, "q")["refill"]["last_error"]
        expect("ended before: exited" in error and "Hello from vmpool" in error, error)
        equal(client.delete("/v1/pools/q").status, 204, "deleting a pool that fails")


@check("a new declaration boots its template first, and keeps ready.min; deleting a pool ends its boot")
def changes():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        upload(client)
        declare(client, "p", "canary", 2, memory_mib=4)
        equal(client("PATCH", "/v1/pools/p", {"ready_when": {"console": "never"}}).status, 200, "a declaration that waits")
        becomes("booting", "the template", lambda: status(client, "p")["template"]["state"])
        standing = status(client, "p")
        equal((standing["ready"], standing["outdated"], standing["retiring"]), (2, 2, 0), "the VMs meanwhile")
        release(client, lease(client, "p"))
        equal(client("PATCH", "/v1/pools/p", {"ready_when": {"console": "ready"}}).status, 200, "one that does not")
        filled(client, "p")
        becomes(0, "outdated VMs", lambda: status(client, "p")["outdated"])
        equal(client("PATCH", "/v1/pools/p", {"ready_when": {"console": "never"}}).status, 200, "waiting again")
        becomes("booting", "the template", lambda: status(client, "p")["template"]["state"])
        equal(client.delete("/v1/pools/p").status, 204, "deleting it meanwhile")
        equal(client.get("/v1/pools/p").status, 404, "looking for it")
        daemon.expect_idle(client, "after a boot was given up")

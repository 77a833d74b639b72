"""Pools: VMs kept ready."""
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.daemon import Daemon


def ready(client, pool):
    return client.get(f"/v1/pools/{pool}").json["status"]["ready"]


def members(client, pool, **filters):
    query = "".join(f"&{name}={value}" for name, value in filters.items())
    return [vm["id"] for vm in client.get(f"/v1/vms?limit=1000&pool={pool}{query}").json["items"]]


@check("the server starts with a pool of two ready VMs")
def demo():
    with Daemon() as daemon:
        client = daemon.client()
        becomes(2, "ready VMs", lambda: ready(client, "demo"))
        pool = client.get("/v1/pools").json["items"][0]
        wanted = ("demo", "spin", 1, 2, {"min": 2, "max": 2})
        equal(tuple(pool[name] for name in ("name", "image", "vcpus", "memory_mib", "ready")), wanted, "the pool")
        daemon.expect_idle(client, "ready VMs")


@check("declare, take, resize, replace and delete")
def declare():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        equal(client.get("/v1/pools").json["items"], [], "the pools")
        live(client)
        # What the server makes once, it has made now; another life must leave nothing.
        before = daemon.holdings()
        live(client)
        daemon.expect_unchanged(before, "a pool's life")


def live(client):
    """A pool's life."""
    answer = client.put("/v1/pools/echoes", {"image": "echo", "ready": 3})
    equal((answer.status, answer.headers["Location"]), (201, "/v1/pools/echoes"), "declaring a pool")
    becomes(3, "ready VMs", lambda: ready(client, "echoes"))
    equal(client.put("/v1/pools/echoes", {"image": "echo", "ready": 3}).status, 200, "declaring it again")

    first = members(client, "echoes")
    taken = first[0]
    equal(client.post(f"/v1/vms/{taken}/start").json["state"], "running", "the taken VM's state")
    becomes(3, "ready VMs after one was taken", lambda: ready(client, "echoes"))
    now = members(client, "echoes")
    equal((len(now), set(first) <= set(now)), (4, True), "the pool's VMs")
    equal(members(client, "echoes", state="running"), [taken], "the VMs taken")

    lost = members(client, "echoes", state="ready")[0]
    equal(client.delete(f"/v1/vms/{lost}").status, 204, "deleting a ready VM")
    becomes(3, "ready VMs after one was lost", lambda: ready(client, "echoes"))
    stopped = members(client, "echoes", state="ready")[0]
    client.post(f"/v1/vms/{stopped}/stop")
    becomes(3, "ready VMs after one was stopped", lambda: ready(client, "echoes"))

    for size in (8, 1, 0, 2):
        client.put("/v1/pools/echoes", {"image": "echo", "ready": size})
        becomes(size, f"ready VMs of {size}", lambda: ready(client, "echoes"))
    old = members(client, "echoes", state="ready")
    client.put("/v1/pools/echoes", {"image": "spin", "ready": 2, "memory_mib": 4})
    eventually("there are two ready VMs of the new kind", lambda: are_new(client, old))
    equal(client.get(f"/v1/vms/{taken}").json["state"], "running", "the taken VM's state")

    equal(client.delete("/v1/pools/echoes").status, 204, "deleting the pool")
    equal(client.get("/v1/pools/echoes").status, 404, "looking for it")
    equal(client.get("/v1/vms").json["items"], [], "the VMs left")


def are_new(client, old):
    now = members(client, "echoes", state="ready")
    memory = [client.get(f"/v1/vms/{vm}").json.get("memory_mib") for vm in now]
    return memory == [4, 4] and not set(old) & set(now)


@check("a pool that cannot be filled says why, and fills when it can")
def limit():
    with Daemon("--no-demo-pool", "--max-vms", "3") as daemon:
        client = daemon.client()
        client.put("/v1/pools/many", {"image": "spin", "ready": 5})
        becomes(3, "ready VMs", lambda: ready(client, "many"))
        refill = lambda: client.get("/v1/pools/many").json["status"]["refill"]
        becomes("limited", "the state of the refill", lambda: refill()["state"])
        expect("3 VMs" in refill()["last_error"], lambda: f"the limit is not named: {refill()}")
        answer = client.post("/v1/vms", {"image": "spin"})
        equal((answer.status, answer.json["type"]), (503, "/problems/resources-exhausted"), "one VM too many")
        expect(int(answer.headers["Retry-After"]) >= 1, "no Retry-After")
        client.put("/v1/pools/many", {"image": "spin", "ready": 2})
        becomes(2, "ready VMs", lambda: ready(client, "many"))
        becomes(201, "the status of a VM when there is room", lambda: client.post("/v1/vms", {"image": "spin"}).status)


@check("a pool deleted while it is filled and declared anew begins from nothing")
def anew():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for _ in range(5):
            client.put("/v1/pools/again", {"image": "spin", "ready": 50})
            equal(client.delete("/v1/pools/again").status, 204, "deleting the pool")
            client.put("/v1/pools/again", {"image": "spin", "ready": 1})
            seen = []

            def status():
                seen.append(client.get("/v1/pools/again").json["status"])
                expect(0 <= seen[-1]["creating"] <= 1, lambda: f"a pool of one: {seen[-1]}")
                return seen[-1]["ready"], seen[-1]["creating"]

            becomes((1, 0), "ready VMs and those being made", status)
            equal(len(client.get("/v1/vms").json["items"]), 1, "the VMs there are")
            equal(client.delete("/v1/pools/again").status, 204, "deleting the pool again")

"""VMs that cannot be taken apart in time."""
from testbed import problems
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.daemon import Daemon
from testbed.held import held, threads, vcpu_thread
from testbed.pools import declare, filled, lease, path, status


@check("a VM whose vCPU does not stop is quarantined, shown and counted, until it has stopped after all")
def released():
    # Room for two VMs.
    with Daemon("--no-demo-pool", "--max-memory-mib", "5") as daemon:
        client = daemon.client()
        declare(client, "p", ready=1)
        thread = vcpu_thread(daemon)
        first = lease(client, "p")
        becomes("running", "the leased VM", lambda: client.get(f"/v1/vms/{first['vm']}").json["state"])
        filled(client, "p")
        with held(thread):
            equal(client.delete(path(first)).status, 204, "releasing the lease")
            problems.expect_problem(client.get(f"/v1/vms/{first['vm']}"), "vm-not-found", "the VM that was given back")
            becomes((0, 1), "VMs being taken apart, and quarantined", lambda: counts(client, "retiring", "quarantined"))
            eventually("the log names it", lambda: f"vm={first['vm']}" in daemon.log)
            equal(metric(client, 'vmpool_vms{pool="p",state="quarantined"}'), 1, "the metric")
            # What is ready is leased; for another VM there is no room beside the one that is stuck.
            second = lease(client, "p", start=False)
            expect(second["fence"] > first["fence"] and second["vm"] != first["vm"], "the lease of another VM")
            refill = status(client, "p")["refill"]
            equal(refill["state"], "limited", "the refill")
            expect("5 MiB of guest memory" in refill["last_error"], lambda: f"which limit it names: {refill}")
            problems.expect_problem(client.post("/v1/pools/p/leases"), "pool-exhausted", "a lease beyond that")
            # Others are taken apart meanwhile, and their place is used.
            equal(client.delete(path(second)).status, 204, "releasing that lease")
            filled(client, "p")
            equal(counts(client, "quarantined"), (1,), "VMs in quarantine")
        becomes((0,), "VMs in quarantine once it has stopped", lambda: counts(client, "quarantined"))
        third = lease(client, "p", start=False)
        filled(client, "p")
        equal(client.delete(path(third)).status, 204, "a last lease's release")


@check("deleting such a VM by hand says that it is quarantined")
def deleted():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        before = threads(daemon, "vm-")
        vm = "/v1/vms/" + client.post("/v1/vms", {"image": "spin"}).json["id"]
        thread = vcpu_thread(daemon, before)
        with held(thread):
            problems.expect_problem(client.delete(vm), "vm-quarantined", "deleting it")
            problems.expect_problem(client.get(vm), "vm-not-found", "looking for it")
            equal(metric(client, 'vmpool_vms{pool="_none",state="quarantined"}'), 1, "the metric of VMs in no pool")
        becomes(set(), "threads left of it", lambda: threads(daemon, "vm-") - before)


@check("deleting the pool of such a VM answers, goes on, and counts the VM")
def pool_deleted():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "p", ready=1)
        before = threads(daemon, "vm-")
        with held(vcpu_thread(daemon)):
            vm = client.get("/v1/vms?pool=p").json["items"][0]["id"]
            problems.expect_problem(client.delete(f"/v1/vms/{vm}"), "vm-quarantined", "deleting it")
            answer = client.delete("/v1/pools/p?force=true")
            equal((answer.status, answer.json["status"]["quarantined"]), (202, 1), "deleting the pool")
            problems.expect_problem(client.get("/v1/pools/p"), "pool-not-found", "looking for the pool")
            equal(metric(client, 'vmpool_vms{pool="_none",state="quarantined"}'), 1, "the metric of VMs in no pool")
            # The name is free.
            declare(client, "p", ready=1)
            equal(status(client, "p")["quarantined"], 0, "VMs in quarantine of the new pool")
        becomes(0, "the metric, once it has stopped", lambda: metric(
            client, 'vmpool_vms{pool="_none",state="quarantined"}'))
        becomes(1, "vCPU threads left", lambda: len(threads(daemon, "vm-") - before))


def counts(client, *names):
    now = status(client, "p")
    return tuple(now[name] for name in names)


def metric(client, name):
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    return None

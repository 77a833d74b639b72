"""Pools whose VMs are put back to their template when their lease ends, and are leased again."""
import os
import signal

from checks.guests import BYTES
from checks.quarantine import metric
from checks.templates import CANARY, ask, console, upload
from testbed import problems, processes
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.daemon import Daemon
from testbed.held import held, vcpu_thread
from testbed.pools import Asking, declare, filled, lease, path, release, status

ROUNDS = int(os.environ.get("VMPOOL_ROUNDS", "300"))


def declare_canaries(client, **members):
    """A pool of one VM, so that every tenant has the one that the tenant before had."""
    upload(client)
    declare(client, "p", CANARY.partition("?")[0], 1, max_vms=1, memory_mib=4, ready_when={"console": "ready"},
            verify_reset="full", **members)


def resets(client, result="ok"):
    return metric(client, f'vmpool_resets_total{{pool="p",result="{result}"}}')


@check("one VM goes from tenant to tenant, and none finds what another has left")
def hand_overs():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare_canaries(client)
        pool = client.get("/v1/pools/p").json
        equal((pool["on_release"], pool["verify_reset"]), ("reset", "full"), "the declaration")
        seen, fence = set(), 0
        for number in range(ROUNDS):
            # Some give back what they never started.
            starts = number % 5 != 4
            mine = lease(client, "p", wait_ms=20_000, start=starts)
            expect(mine["vm"] not in seen and mine["fence"] > fence, lambda: f"{mine} after fence {fence}")
            seen.add(mine["vm"])
            fence = mine["fence"]
            equal(console(client, mine["vm"]), b"ready", "the console of a new tenant")
            if not starts:
                equal(client.get(f"/v1/vms/{mine['vm']}/vcpus/0").json["exits"], {}, "what a new tenant's VM has counted")
                release(client, mine)
                continue
            ask(client, mine["vm"], b"?", b"ready.")
            ask(client, mine["vm"], b"S", b"ready.w")
            ask(client, mine["vm"], b"?", b"ready.wS")
            if number % 3 == 0:
                # What its guest has not read is left, too.
                equal(client.post(f"/v1/vms/{mine['vm']}/pause").status, 200, "pausing it")
                equal(client("POST", f"/v1/vms/{mine['vm']}/console", b"left", BYTES).status, 200, "input")
            release(client, mine)
        filled(client, "p")
        equal((resets(client), resets(client, "failed"), resets(client, "differed")), (ROUNDS, 0, 0), "resets")
        equal(metric(client, 'vmpool_reset_seconds_count{pool="p"}'), ROUNDS, "their durations")
        expect(metric(client, 'vmpool_reset_pages_total{pool="p"}') >= 100 * ROUNDS, "pages that were put back")
        equal(metric(client, 'vmpool_vm_create_seconds_count{pool="p"}'), 1, "VMs that were made")
        return f"{ROUNDS} hand-overs"


@check("runs, expired leases and guests that have ended are resets as well")
def ends():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "p", "echo", 1, max_vms=1, ready_when="started", verify_reset="full")
        for number in range(20):
            answer = client.post("/v1/pools/p/run", {"input": f"{number}\n\x04", "wait_ms": 20_000})
            equal((answer.status, answer.json.get("console")), (200, f"{number}\n"), f"a run: {answer}")
            equal(answer.json["exits"].get("io", 0) > 0, True, f"what it counted: {answer.json}")
        filled(client, "p")
        equal(resets(client), 20, "resets after the runs")
        ended = lease(client, "p")
        equal(client("POST", f"/v1/vms/{ended['vm']}/console", b"\x04", BYTES).status, 200, "ending the guest")
        becomes("stopped", "the VM", lambda: client.get(f"/v1/vms/{ended['vm']}").json["state"])
        release(client, ended)
        becomes(21, "resets after a guest's end", lambda: resets(client))
        lease(client, "p", ttl_ms=50, wait_ms=20_000)
        becomes(22, "resets after an expired lease", lambda: resets(client))
        equal(metric(client, 'vmpool_vm_create_seconds_count{pool="p"}'), 1, "VMs that were made")


@check("a VM that is being reset is nobody's: no request reaches it, and who waits gets it afterwards")
def between():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare_canaries(client)
        thread = vcpu_thread(daemon)
        first = lease(client, "p")
        vm = f"/v1/vms/{first['vm']}"
        becomes("running", "the leased VM", lambda: client.get(vm).json["state"])
        with held(thread):
            release(client, first)
            now = status(client, "p")
            equal((now["resetting"], now["retiring"], now["leased"], now["ready"]), (1, 0, 0, 0), "the pool")
            equal(metric(client, 'vmpool_vms{pool="p",state="resetting"}'), 1, "the metric")
            fence = {"Lease-Fence": str(first["fence"])}
            for verb in ("kick", "pause", "resume", "stop", "start"):
                problems.expect_problem(client.post(f"{vm}/{verb}"), "vm-not-found", f"{verb} without a fence")
                problems.expect_problem(client("POST", f"{vm}/{verb}", None, fence), "stale-fence", f"{verb} with one")
            problems.expect_problem(client.delete(vm), "vm-not-found", "deleting it")
            problems.expect_problem(client.get(f"{vm}/console"), "vm-not-found", "its console")
            # A release that is repeated: the lease has ended so.
            equal(client.delete(path(first)).status, 204, "releasing it again")
            waiting = Asking(daemon.address, "POST", "/v1/pools/p/leases", {"wait_ms": 20_000})
            becomes(1, "clients that wait", lambda: status(client, "p")["waiting"])
        answer = waiting.result()
        equal(answer.status, 201, f"the lease of one who waited: {answer}")
        expect(answer.json["vm"] != first["vm"], "the VM has another id")
        ask(client, answer.json["vm"], b"?", b"ready.")
        problems.expect_problem(client("POST", f"{vm}/pause", None, fence), "stale-fence", "the tenant before")
        equal((resets(client), resets(client, "failed")), (1, 0), "resets")
        equal(client.get(f"/v1/vms/{answer.json['vm']}").json["state"], "running", "the VM")


@check("a VM that does not stand still in time is quarantined and never comes back")
def wedged():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare_canaries(client)
        thread = vcpu_thread(daemon)
        first = lease(client, "p")
        with held(thread):
            release(client, first)
            becomes(1, "VMs in quarantine", lambda: status(client, "p")["quarantined"])
            equal(status(client, "p")["resetting"], 0, "VMs being reset")
        filled(client, "p")
        equal((resets(client), metric(client, 'vmpool_vm_create_seconds_count{pool="p"}')), (0, 2), "resets and creations")


@check("a pool that is deleted or declared anew while a VM is reset has no use for it; a deleted VM is not reset")
def of_no_use():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare_canaries(client)
        first = lease(client, "p")
        equal(client.delete(f"/v1/vms/{first['vm']}").status, 204, "deleting a leased VM")
        filled(client, "p")
        thread = vcpu_thread(daemon)
        second = lease(client, "p")
        with held(thread):
            release(client, second)
            equal(status(client, "p")["resetting"], 1, "VMs being reset")
            equal(client("PATCH", "/v1/pools/p", {"ready_when": {"after_ms": 20}}).status, 200, "another declaration")
        filled(client, "p")
        equal(resets(client), 0, "resets")
        thread = eventually("the vCPU's thread", lambda: vcpu_thread(daemon))
        third = lease(client, "p")
        with held(thread):
            release(client, third)
            equal(status(client, "p")["resetting"], 1, "VMs being reset")
            deletion = Asking(daemon.address, "DELETE", "/v1/pools/p")
            eventually("the pool is gone for clients", lambda: client.get("/v1/pools/p").status == 404)
        equal(deletion.result().status, 204, "deleting the pool")
        equal(client.get("/v1/vms").json["items"], [], "the VMs left")


@check("a server that is killed while it resets a VM comes back with the lease ended and the pool full")
def killed():
    state = processes.scratch_directory("resets")
    options = ("--no-demo-pool", "--state-dir", state)
    with Daemon(*options) as daemon:
        client = daemon.client()
        declare_canaries(client)
        thread = vcpu_thread(daemon)
        first = lease(client, "p")
        with held(thread):
            release(client, first)
            equal(status(client, "p")["resetting"], 1, "VMs being reset")
            daemon.process.send_signal(signal.SIGKILL)
        daemon.wait()
    with Daemon(*options) as daemon:
        client = daemon.client()
        equal(client.get("/v1/leases").json["items"], [], "leases")
        equal(client.get(path(first)).json["type"], "/problems/lease-released", "the lease")
        pool = client.get("/v1/pools/p").json
        equal((pool["on_release"], pool["verify_reset"]), ("reset", "full"), "the declaration")
        filled(client, "p")
        second = lease(client, "p")
        expect(second["fence"] > first["fence"], "the fence")
        ask(client, second["vm"], b"?", b"ready.")


@check("a life of resets leaves nothing behind")
def holdings():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare_canaries(client)

        def live():
            for _ in range(20):
                mine = lease(client, "p", wait_ms=20_000)
                ask(client, mine["vm"], b"S", b"readyw")
                release(client, mine)
            filled(client, "p")

        live()
        before = daemon.holdings()
        before.pop("vms")
        live()
        after = daemon.holdings()
        after.pop("vms")
        equal(after, before, "what the server holds")
        daemon.expect_idle(client, "a VM that was reset")

"""Create, kick, look at the metrics, delete: what the server is for."""
import base64
import json

from testbed import processes
from testbed.checks import check, equal, eventually, expect
from testbed.daemon import Daemon
from testbed.exposition import Exposition
from testbed.pools import declare

COUNTERS = ("vmpool_kicks_total", "vmpool_vcpu_exits_total", "vmpool_kick_latency_seconds_count",
            "vmpool_kvm_signal_exits_total")


@check("a kick takes a spinning guest out of KVM_RUN, and the metrics tell")
def kick():
    with Daemon() as daemon:
        client = daemon.client()
        before = Exposition.of(client)
        created = client.post("/v1/vms", {"image": "spin"})
        equal(created.status, 201, "creating a VM")
        vm = created.json["id"]
        equal(created.headers["Location"], f"/v1/vms/{vm}", "Location")
        equal(created.json["state"], "running", "the new VM's state")

        kicks = []

        def lands_in_guest():
            answer = client.post(f"/v1/vms/{vm}/vcpus/0/kick")
            equal(answer.status, 200, "a kick")
            kicks.append(answer.json)
            return kicks[-1]["phase"] == "guest"

        eventually("a kick lands in the guest", lands_in_guest)
        generations = [document["generation"] for document in kicks]
        equal(generations, list(range(generations[0], generations[0] + len(kicks))), "the generations")
        for document in kicks:
            equal((document["vm"], document["vcpu"]), (vm, 0), "who was kicked")
            expect(0 < document["latency_ns"] < 10**9, lambda: f"an odd latency: {document}")
        landed = kicks[-1]
        expect(landed["signals_sent"] >= 1 and not landed["coalesced"], lambda: f"no signal: {landed}")
        expect(0 < landed["signal_latency_ns"] <= landed["latency_ns"], lambda: f"odd latencies: {landed}")

        after = Exposition.of(client)
        moved = {name: after.total(name) - before.total(name) for name in COUNTERS}
        equal(moved["vmpool_kicks_total"], len(kicks), "kicks counted")
        equal(moved["vmpool_kick_latency_seconds_count"], len(kicks), "kick latencies counted")
        guest = after.total("vmpool_kicks_total", pool="_none", phase="guest", result="ok")
        equal(guest, sum(1 for document in kicks if document["phase"] == "guest"), "kicks in the guest")
        exits = after.total("vmpool_vcpu_exits_total", reason="intr")
        expect(exits >= guest, lambda: f"{exits} exits for a signal, {guest} kicks of a guest")
        # What the project promises of the two counts: ours and the kernel's agree.
        entry = after.total("vmpool_vcpu_exits_total", reason="entry")
        equal(exits + entry, moved["vmpool_kvm_signal_exits_total"] + entry, "our exits for a signal, the kernel's")
        seconds = after.total("vmpool_kick_latency_seconds_sum")
        told = sum(document["latency_ns"] for document in kicks) / 1e9
        expect(abs(seconds - told) < 1e-6, lambda: f"the histogram's sum is {seconds}, the answers' {told}")

        equal(client.delete(f"/v1/vms/{vm}").status, 204, "deleting it")
        equal(client.get(f"/v1/vms/{vm}").status, 404, "looking for it afterwards")
        expect_not_backwards(after, Exposition.of(client))


@check("no counter goes backwards while VMs come and go")
def monotonic():
    with Daemon() as daemon:
        client = daemon.client()
        last = Exposition.of(client)
        for image in ("spin", "pio", "mmio", "hello", "spin"):
            vm = client.post("/v1/vms", {"image": image, "vcpus": 1}).json["id"]
            client.post(f"/v1/vms/{vm}/kick")
            last = expect_not_backwards(last, Exposition.of(client))
            equal(client.delete(f"/v1/vms/{vm}").status, 204, "deleting a VM")
            last = expect_not_backwards(last, Exposition.of(client))


def expect_not_backwards(before, after):
    for series, value in before.counters():
        expect(after.samples.get(series, -1) >= value, lambda: f"{series}: {value} became {after.samples.get(series)}")
    return after


# mov $0x3f8,%dx; mov $'a',%al; out %al,(%dx); mov $0,%al; out %al,(%dx); mov $'b',%al; out %al,(%dx);
# mov $0,%al; out %al,$0xf4; hlt
WRITES_A_NUL = bytes.fromhex("baf803b061eeb000eeb062eeb000e6f4f4")


@check("a guest that writes a NUL: no JSON holds one, and the bytes are there")
def nul():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        answer = client("PUT", "/v1/images/nul?kind=flat&mode=real16&load_address=0x10000", WRITES_A_NUL,
                        {"Content-Type": "application/octet-stream"})
        equal(answer.status, 201, f"storing the image: {answer}")
        declare(client, "nul", image="nul", memory_mib=1, ready=1)
        answer = client.post("/v1/pools/nul/run", {"wait_ms": 20000})
        expect(b"\\u0000" not in answer.body and b"\0" not in answer.body, lambda: f"a NUL: {answer}")
        found = answer.json
        equal((found["outcome"], found["exit_code"], found["console"]), ("exited", 0, "a\ufffdb"), "the run")
        equal(base64.b64decode(found["console_base64"]), b"a\0b", "the console's bytes")
        # jansson reads the answer, too.
        command = [processes.BINARIES / "vmpool", "run", "nul", "--json", "--wait", "20s", "--server", daemon.url]
        ran = processes.run(command)
        equal(ran.returncode, 0, f"vmpool run --json: {ran.stdout + ran.stderr}; its status")
        equal(base64.b64decode(json.loads(ran.stdout)["console_base64"]), b"a\0b", "what it printed")

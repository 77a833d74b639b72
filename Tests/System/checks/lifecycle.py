"""Guests, and what can be done to a VM that runs one."""
import base64
import json
import pathlib
import re

from testbed import problems
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.daemon import Daemon

# mov $0x2a, %al; out %al, $0xf4; hlt: the same bytes in every mode.
EXIT_42 = base64.b64encode(bytes([0xB0, 42, 0xE6, 0xF4, 0xF4])).decode()
MODES = ("real16", "prot32", "long64", "long64_ring3")


def create(client, **document):
    answer = client.post("/v1/vms", document)
    equal(answer.status, 201, f"creating {document}: {answer}")
    return "/v1/vms/" + answer.json["id"]


def stop_of(client, vm, seconds=20):
    """How a VM stopped, once it did."""
    becomes("stopped", "the VM's state", lambda: client.get(vm).json["state"], seconds)
    return client.get(vm).json["stop"]


def state_after(client, vm, verb):
    answer = client.post(f"{vm}/{verb}")
    return answer.status, answer.json["state"]


@check("every built-in guest does what it is for")
def guests():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        images = {image["name"]: image for image in client.get("/v1/images").json["items"]}
        equal(sorted(images), ["echo", "halt", "hello", "mmio", "pio", "spin"], "the images")
        for name, image in images.items():
            equal(client.get(f"/v1/images/{name}").json, image, f"the image {name}")

        spin = create(client, image="spin")
        exits = {name: create(client, image=name) for name in ("pio", "mmio")}
        for name, reason in (("pio", "io"), ("mmio", "mmio")):
            vcpu = exits[name] + "/vcpus/0"
            eventually(f"{name} leaves for {reason}", lambda: client.get(vcpu).json["exits"].get(reason, 0) > 100)
        equal(client.get(spin).json["state"], "running", "the state of spin")

        halt = create(client, image="halt")
        equal(stop_of(client, halt), {"reason": "halted", "exit_code": None, "detail": None}, "how halt stopped")
        hello = create(client, image="hello")
        equal(stop_of(client, hello), {"reason": "exited", "exit_code": 0, "detail": None}, "how hello stopped")
        equal(client.get(f"{hello}/console").text, "Hello from vmpool\n", "what hello wrote")
        equal(client.get(hello).json["console_bytes"], 18, "the console's length")
        for vm in (spin, halt, hello, *exits.values()):
            equal(client.delete(vm).status, 204, "deleting")


@check("machine code in the request runs in every mode")
def flat():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for mode in MODES:
            for place in ({}, {"load_address": "0x20000", "entry": "0x20000"}):
                vm = create(client, flat={"mode": mode, "code": EXIT_42, **place})
                wanted = {"reason": "exited", "exit_code": 42, "detail": None}
                equal(stop_of(client, vm), wanted, f"how {mode} at {place} stopped")
                equal(client.get(vm).json["image"], "flat", "the image's name")
        # ud2 without an interrupt table: a triple fault.
        vm = create(client, flat={"mode": "long64", "code": base64.b64encode(b"\x0f\x0b").decode()})
        stop = stop_of(client, vm)
        equal((stop["reason"], stop["exit_code"]), ("crashed", None), "how an invalid instruction ends")
        expect(stop["detail"], "the crash says nothing of what the kernel said")


@check("how a VM stopped is in its event and in the metrics, and a crash is in the log")
def stops():
    # Here, because the lab imports this file for its functions and has no parser for metrics.
    from testbed.exposition import Exposition
    with Daemon("--no-demo-pool", "--log-format", "json") as daemon:
        client = daemon.client()
        start = re.search("id: (.+)", client.get("/v1/events?timeout_ms=1").text)[1]
        document = {"flat": {"mode": "long64", "code": base64.b64encode(b"\x0f\x0b").decode()}}
        for wanted, vm in (("exited", create(client, image="hello")), ("crashed", create(client, **document))):
            stop = stop_of(client, vm)
            equal(stop["reason"], wanted, "how it stopped")
            found = stopped(client, vm.removeprefix("/v1/vms/"), start)
            equal({name: found[name] for name in stop}, stop, "the event")
            equal(Exposition.of(client).total("vmpool_vm_stops_total", pool="_none", reason=wanted), 1, "the metric")
        lines = [json.loads(line) for line in daemon.log_so_far().splitlines()]
        crashes = [line for line in lines if line.get("detail") == stop["detail"]]
        equal([(line["pool"], line["vm"]) for line in crashes], [("_none", vm.removeprefix("/v1/vms/"))], "the log")


def stopped(client, vm, start):
    """The event that the VM stopped, of those that came after `start`: the third, after `vm.ready` and `vm.running`."""
    text = client.get(f"/v1/events?vm={vm}&last_event_id={start}&limit=3&timeout_ms=10000").text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    equal([event["type"] for event in events], ["vm.ready", "vm.running", "vm.stopped"], f"the events of {vm}")
    return events[-1]


@check("start, pause, resume and stop: idempotent, and 409 where impossible")
def transitions():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="spin", start=False)
        equal(client.get(vm).json["state"], "ready", "the state")
        table = [
            ("pause", 409, "ready"), ("resume", 409, "ready"),
            ("start", 200, "running"), ("start", 200, "running"), ("resume", 200, "running"),
            ("pause", 200, "paused"), ("pause", 200, "paused"), ("start", 409, "paused"),
            ("resume", 200, "running"), ("resume", 200, "running"),
            ("stop", 200, "stopped"), ("stop", 200, "stopped"),
            ("start", 409, "stopped"), ("pause", 409, "stopped"), ("resume", 409, "stopped"),
        ]
        for verb, status, state in table:
            equal(state_after(client, vm, verb), (status, state), verb)
        equal(client.get(vm).json["stop"]["reason"], "killed", "how it stopped")
        equal(client.post(f"{vm}/vcpus/0/kick").status, 409, "kicking a stopped VM")
        equal(client.post(f"{vm}/kick").status, 409, "kicking all vCPUs of a stopped VM")
        for first, second in (("start", "stop"), ("stop", "stop")):
            vm = create(client, image="spin", start=False)
            equal(client.post(f"{vm}/{first}").status, 200, first)
            equal(state_after(client, vm, second), (200, "stopped"), second)
        # What the guest did stays, whatever is asked for afterwards.
        vm = create(client, image="hello")
        equal(stop_of(client, vm)["reason"], "exited", "how hello stopped")
        equal(client.post(f"{vm}/stop").json["stop"]["reason"], "exited", "how it stopped, after another stop")


@check("a paused guest stands still, and goes on where it stood")
def pause():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="spin", vcpus=2)
        for index in (0, 1):
            equal(client.get(f"{vm}/vcpus/{index}/registers").status, 409, "registers of a running VM")
        client.post(f"{vm}/pause")
        before = [client.get(f"{vm}/vcpus/{index}/registers").json for index in (0, 1)]
        again = [client.get(f"{vm}/vcpus/{index}/registers").json for index in (0, 1)]
        equal(again, before, "the registers, read twice")
        for registers in before:
            names = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip", "rflags"]
            expect(set(names) <= set(registers["general"]), lambda: f"general registers: {registers['general']}")
            equal(registers["segments"]["cs"]["dpl"], 3, "the privilege level of spin")
        kick = client.post(f"{vm}/kick").json
        equal([document["phase"] for document in kick["kicks"]], ["parked", "parked"], "kicks of a paused VM")
        equal(client.get(vm).json["state"], "paused", "the state")
        daemon.expect_idle(client, "a paused VM")

        def moved():
            client.post(f"{vm}/resume")
            client.post(f"{vm}/pause")
            now = [client.get(f"{vm}/vcpus/{index}/registers").json["general"]["rax"] for index in (0, 1)]
            return all(one != other["general"]["rax"] for one, other in zip(now, before))

        eventually("both vCPUs count on", moved)
        vm = create(client, image="spin", start=False)
        equal(client.get(f"{vm}/vcpus/0/registers").status, 409, "registers of a ready VM")


@check("eight vCPUs are kicked together")
def eight():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="spin", vcpus=8)
        first = client.post(f"{vm}/kick").json["kicks"][0]["generation"]
        for generation in range(first + 1, first + 20):
            answer = client.post(f"{vm}/kick", {"timeout_ms": 20000})
            equal(answer.status, 200, f"a kick of eight: {answer}")
            kicks = answer.json["kicks"]
            equal([kick["vcpu"] for kick in kicks], list(range(8)), "who was kicked")
            equal([kick["generation"] for kick in kicks], [generation] * 8, "the generations")
        vcpus = client.get(f"{vm}/vcpus").json["items"]
        equal([sum(vcpu["kicks"].values()) for vcpu in vcpus], [20] * 8, "kicks by vCPU")
        for vcpu in vcpus:
            equal(client.get(f"{vm}/vcpus/{vcpu['index']}").json["index"], vcpu["index"], "the index")
        problems.expect_problem(client.get(f"{vm}/vcpus/64"), "invalid-parameter", "a vCPU beyond all")
        equal(client.delete(vm).status, 204, "deleting")


@check("every mechanism kicks")
def mechanisms():
    for mechanism in ("immediate_exit", "signal_mask"):
        with Daemon("--no-demo-pool", "--kick-mechanism", mechanism) as daemon:
            client = daemon.client()
            equal(client.get("/v1/host").json["kick_mechanism"], mechanism, "the mechanism")
            vm = create(client, image="spin")
            for _ in range(50):
                kick = client.post(f"{vm}/vcpus/0/kick")
                equal((kick.status, kick.json["mechanism"]), (200, mechanism), "a kick")


@check("a deadline stops a VM, counted from its start")
def deadline():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        waiting = create(client, image="spin", start=False, deadline_ms=1)
        vm = create(client, image="spin", deadline_ms=100)
        wanted = {"reason": "deadline", "exit_code": None, "detail": None}
        equal(stop_of(client, vm), wanted, "how it stopped")
        equal(client.get(waiting).json["state"], "ready", "the state of the one not started")
        client.post(f"{waiting}/start")
        equal(stop_of(client, waiting), wanted, "how the other stopped")
        # A guest that ends by itself before its deadline keeps its own reason.
        vm = create(client, image="hello", deadline_ms=86400000)
        equal(stop_of(client, vm)["reason"], "exited", "how hello stopped")


@check("lists come in pages, and filtered")
def lists():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        equal(client.get("/v1/vms").json, {"items": [], "next_page_token": None}, "the list without VMs")
        made = [create(client, image="spin", start=False).rsplit("/")[-1] for _ in range(7)]
        seen, path = [], "/v1/vms?limit=3"
        for size in (3, 3, 1):
            page = client.get(path).json
            equal(len(page["items"]), size, "the size of a page")
            seen += [vm["id"] for vm in page["items"]]
            path = f"/v1/vms?limit=3&page_token={page['next_page_token']}"
        equal(page["next_page_token"], None, "the last page's token")
        equal(sorted(seen), sorted(made), "the VMs on all pages")
        client.post(f"/v1/vms/{made[0]}/start")
        client.post(f"/v1/vms/{made[1]}/stop")
        for state, wanted in (("ready", made[2:]), ("running", made[:1]), ("stopped", made[1:2]), ("paused", [])):
            found = client.get(f"/v1/vms?state={state}").json["items"]
            equal(sorted(vm["id"] for vm in found), sorted(wanted), f"the VMs that are {state}")
        equal(client.get("/v1/vms?pool=nobody").json["items"], [], "the VMs of no pool")
        pages = client.get("/v1/images?limit=4").json
        rest = client.get(f"/v1/images?limit=4&page_token={pages['next_page_token']}").json
        names = [image["name"] for image in pages["items"] + rest["items"]]
        equal(names, ["echo", "halt", "hello", "mmio", "pio", "spin"], "the images on two pages")


@check("HEAD, OPTIONS, 405 and request ids")
def methods():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for path in ("/v1/host", "/v1/vms", "/v1/images/spin", "/livez", "/readyz", "/openapi.yaml"):
            got, head = client.get(path), client("HEAD", path)
            equal((head.status, head.body), (200, b""), f"HEAD {path}")
            equal(head.headers["Content-Length"], str(len(got.body)), f"the length of HEAD {path}")
            options = client("OPTIONS", path)
            equal(options.status, 204, f"OPTIONS {path}")
            allowed = options.headers["Allow"].split(", ")
            expect({"GET", "HEAD", "OPTIONS"} <= set(allowed), lambda: f"Allow of {path}: {allowed}")
            for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "BREW"} - set(allowed):
                answer = client(method, path)
                equal((answer.status, answer.headers["Allow"]), (405, ", ".join(allowed)), f"{method} {path}")
        equal(client.get("/livez", X_Request_Id="build-4711").headers["X-Request-Id"], "build-4711", "the request's id")
        first, second = (client.get("/livez").headers["X-Request-Id"] for _ in range(2))
        expect(first and second and first != second, "two requests share an id")
        problem = client.get("/v1/vms/vm-0000000000000000", X_Request_Id="mine").json
        equal((problem["request_id"], problem["status"]), ("mine", 404), "the problem")
        eventually("the access log has the request's id", lambda: "request_id=build-4711" in daemon.log)


@check("a VM's threads have its id in their name, so that top shows which VM is busy; clones' too")
def thread_names():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for pool in ({"image": "echo", "ready": 1}, {"image": "echo", "ready": 1, "ready_when": "started"}):
            equal(client.put("/v1/pools/p", pool).status, 201, f"declaring {pool}")
            becomes(1, "ready VMs", lambda: client.get("/v1/pools/p").json["status"]["ready"])
            names = {(task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir()}
            for vm in client.get("/v1/vms").json["items"]:
                # The kernel keeps 15 bytes.
                expect(vm["id"][:13] + "/0" in names, f"{vm['id']} among {sorted(names)}")
            equal(client.delete("/v1/pools/p").status, 204, "deleting the pool")

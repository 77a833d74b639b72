"""What is made of the OpenAPI document works: a client that openapi-python-client generates drives every operation, and
nothing stands in the document that generators and document viewers are known to get wrong."""
import base64
import hashlib
import importlib
import pkgutil
import sys

import yaml

from testbed import processes
from testbed.checks import check, equal, eventually, expect
from testbed.daemon import Daemon

# mov $42,%al; out %al,$0xf4; hlt
EXITS_WITH_42 = base64.b64decode("sCrm9PQ=")


@check("a generated client drives every operation")
def drive():
    directory = processes.scratch_directory("generated")
    with Daemon() as daemon:
        api = Generated(generate(directory, daemon.client().get("/openapi.yaml").body), daemon.url)
        equal(api.call("get_host", 200).kvm_api_version, 12, "the host's KVM")
        look_at_operation(api)
        drive_vms(api)
        drive_console(api)
        drive_images(api)
        drive_pools(api)
        drive_keys(api)
        equal(sorted(api.called), sorted(api.operations), "the operations driven")
        return f"{len(api.operations)} operations, {api.requests} requests"


def generate(directory, document):
    """Generates the package `vmpool_client`; returns its name."""
    (directory / "openapi.yaml").write_bytes(document)
    # It takes this type for YAML only when it is told so; and nobody reads the code, so it need not be formatted.
    (directory / "config.yaml").write_text(
        yaml.safe_dump({"content_type_overrides": {"application/yaml": "text/plain"}, "post_hooks": []}))
    made = processes.run([
        processes.PYTHON, "-m", "openapi_python_client", "generate", "--path", directory / "openapi.yaml", "--config",
        directory / "config.yaml", "--meta", "none", "--output-path", directory / "vmpool_client", "--fail-on-warning"])
    equal(made.returncode, 0, f"openapi-python-client's exit status; it said {made.stdout + made.stderr}")
    sys.path.insert(0, str(directory))
    return "vmpool_client"


class Generated:
    """The generated package, imported in whole, and a client of it."""

    def __init__(self, package, url):
        root = importlib.import_module(package)
        names = [found.name for found in pkgutil.walk_packages(root.__path__, package + ".")]
        modules = {name: importlib.import_module(name) for name in names}
        self.models = modules[package + ".models"]
        self.file = modules[package + ".types"].File
        self.operations = {
            name.rpartition(".")[2]: module for name, module in modules.items() if hasattr(module, "sync_detailed")}
        self.client = root.Client(base_url=url, raise_on_unexpected_status=True)
        self.keyed = lambda key: root.AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)
        self.called = set()
        self.requests = 0

    def call(self, operation, status, *arguments, **named):
        """What the operation's answer was parsed into; None where it has no body. An answer that the document does not
        describe raises an error in the generated code."""
        self.called.add(operation)
        self.requests += 1
        answer = self.operations[operation].sync_detailed(*arguments, client=self.client, **named)
        equal(int(answer.status_code), status, f"{operation}: {answer.content[:400]}")
        if answer.content:
            expect(answer.parsed is not None, lambda: f"{operation} was not parsed: {answer.content[:200]}")
        if status >= 400:
            equal(type(answer.parsed).__name__, "Problem", f"{operation}: the answer's type")
        return answer.parsed

    def until(self, what, operation, *arguments, accept, **named):
        return eventually(what, lambda: (found := self.call(operation, 200, *arguments, **named)) and accept(found) and found)


def look_at_operation(api):
    equal(api.call("get_liveness", 200), "ok\n", "the liveness")
    equal(api.call("get_readiness", 200), "ok\n", "the readiness")
    expect("vmpool_vms" in api.call("get_metrics", 200), "the metrics")
    api.call("get_vcpu_metrics", 200)
    expect(api.call("get_open_api", 200), "the document")
    expect("/v1/pools" in api.call("get_docs", 200), "the list of operations")
    equal(api.call("get_links", 200).name, "vmpool", "the name behind /")
    expect(api.call("get_problem", 200, "draining").startswith("Draining (503)"), "a kind of problem")
    events = api.call("stream_events", 200, timeout_ms=50)
    expect(events.startswith("retry: "), lambda: f"the stream: {events!r}")


def drive_vms(api):
    models = api.models
    vm = api.call("create_vm", 201, body=models.CreateVM(image="spin", start=False), idempotency_key="once")
    again = api.call("create_vm", 201, body=models.CreateVM(image="spin", start=False), idempotency_key="once")
    equal(vm.id, again.id, "a repeated request's VM")
    api.call("create_vm", 422, body=models.CreateVM(image="spin"), idempotency_key="once")
    api.call("create_vm", 400, body=models.CreateVM(image="nosuch"))
    api.call("create_vm", 400, body=models.CreateVM())
    equal([item.id for item in api.call("list_v_ms", 200, state=models.VMState.READY, pool="none").items], [], "no pool's")
    equal(api.call("start_vm", 200, vm.id).state, models.VMState.RUNNING, "the started VM's state")
    equal(api.call("get_vm", 200, vm.id, wait_for=models.VMState.RUNNING).id, vm.id, "the VM")
    equal(api.call("kick_vcpu", 200, vm.id, 0, body=models.KickRequest(timeout_ms=5000)).vcpu, 0, "the vCPU kicked")
    equal(len(api.call("kick_vm", 200, vm.id).kicks), 1, "the vCPUs kicked")
    api.call("get_registers", 409, vm.id, 0)
    equal(api.call("pause_vm", 200, vm.id).state, models.VMState.PAUSED, "the paused VM's state")
    registers = api.call("get_registers", 200, vm.id, 0)
    expect("rip" in registers.general and registers.segments["cs"].present, lambda: f"registers {registers}")
    api.call("resume_vm", 200, vm.id)
    equal(api.call("list_vcp_us", 200, vm.id).items[0].vm, vm.id, "the vCPU's VM")
    expect(api.call("get_vcpu", 200, vm.id, 0).kicks.to_dict(), "kicks counted")
    api.call("get_vcpu", 404, vm.id, 1)
    api.call("start_vm", 409, vm.id, lease_fence="41")
    equal(api.call("stop_vm", 200, vm.id).stop.reason, models.StopReason.KILLED, "the stopped VM's reason")
    api.call("delete_vm", 204, vm.id)
    api.call("delete_vm", 404, vm.id)


def drive_console(api):
    models = api.models
    vm = api.call("create_vm", 201, body=models.CreateVM(image="echo")).id
    written = api.call("write_console", 200, vm, body=api.file(payload=b"hello\n"))
    equal(written.accepted, 6, "bytes taken")
    found = api.until("the echo", "read_console", vm, accept=lambda file: bytes_of(file).endswith(b"\n"))
    expect(b"hello" in bytes_of(found), lambda: f"the console: {bytes_of(found)}")
    api.call("delete_vm", 204, vm)
    code = base64.b64encode(EXITS_WITH_42).decode()
    flat = models.FlatImage(mode=models.FlatMode.REAL16, load_address="0x10000", code=code)
    made = api.call("create_vm", 201, body=models.CreateVM(flat=flat, memory_mib=1))
    stopped = api.call("get_vm", 200, made.id, wait_for=models.VMState.STOPPED)
    equal((stopped.stop.reason, stopped.stop.exit_code), (models.StopReason.EXITED, 42), "how it stopped")
    api.call("delete_vm", 204, made.id)


def drive_images(api):
    models = api.models
    digest = "sha256:" + hashlib.sha256(EXITS_WITH_42).hexdigest()
    equal(api.call("put_blob", 201, digest, body=api.file(payload=EXITS_WITH_42)).digest, digest, "the blob")
    equal(bytes_of(api.call("get_blob", 200, digest)), EXITS_WITH_42, "the blob's bytes")
    equal([blob.digest for blob in api.call("list_blobs", 200).items], [digest], "the blobs")
    manifest = models.ImageManifest(kind="flat", kernel=digest, mode=models.FlatMode.REAL16, load_address="0x10000")
    image = api.call("put_image", 201, "tool", body=manifest, if_none_match="*")
    equal(image.segments[0].address, "0x10000", "where it is loaded")
    api.call("put_image", 412, "tool", body=manifest, if_none_match="*")
    kept = api.call("put_image", 200, "tool", body=api.file(payload=EXITS_WITH_42), kind="flat",
                    mode=models.FlatMode.REAL16)
    equal(kept.name, "tool", "the image")
    equal(api.call("get_image", 200, "tool").manifest.kernel, digest, "the image's kernel")
    expect("tool" in [image.name for image in api.call("list_images", 200).items], "the image is listed")
    api.call("delete_blob", 409, digest)
    api.call("delete_image", 204, "tool")
    api.call("delete_blob", 404, digest)


def drive_pools(api):
    models = api.models
    pool = api.call("put_pool", 201, "small", body=models.DeclarePool(image="hello", ready=1))
    equal((pool.ready.max_, pool.status.draining), (1, False), "the pool")
    api.call("put_pool", 200, "small", body=models.DeclarePool(image="hello", ready=models.Ready(min_=0, max_=2)))
    equal(api.call("get_pool", 200, "small").refill.concurrency, None, "the pool's concurrency")
    expect(len(api.call("list_pools", 200, limit=10).items) == 2, "the pools")
    run = api.call("run", 200, "small", body=models.RunRequest(wait_ms=20000))
    equal((run.outcome, run.exit_code), (models.StopReason.EXITED, 0), "how the run ended")
    lease = api.call("create_lease", 201, "small", body=models.LeaseRequest(
        wait_ms=20000, labels=models.Labels.from_dict({"job": "1"})))
    equal(lease.labels["job"], "1", "the lease's label")
    equal([item.lease for item in api.call("list_leases", 200).items], [lease.lease], "the leases")
    equal([item.lease for item in api.call("list_pool_leases", 200, "small").items], [lease.lease], "the pool's leases")
    equal(api.call("get_lease", 200, lease.lease).vm, lease.vm, "the lease's VM")
    api.call("extend_lease", 200, lease.lease, body=models.ExtendLease(ttl_ms=60000))
    api.call("release_lease", 204, lease.lease)
    api.call("get_lease", 410, lease.lease)
    patched = api.call("patch_pool", 200, "small", body=models.PatchPool(ready=models.PatchReady(max_=1)))
    equal(patched.ready.max_, 1, "the pool patched")
    api.call("delete_pool", 412, "small", if_match='"0"')
    api.call("delete_pool", 204, "small", force=True)


def drive_keys(api):
    """Last: the first key closes the server."""
    models = api.models
    equal(api.call("list_keys", 200).items, [], "the keys")
    api.call("create_key", 409, body=models.CreateKey(scopes=[models.Scope.READ]))
    first = api.call("create_key", 201, body=models.CreateKey(scopes=[models.Scope.ADMIN]))
    api.call("get_host", 401)
    api.client = api.keyed(first.key)
    made = api.call("create_key", 201, body=models.CreateKey(scopes=[models.Scope.READ], tenant="acme"))
    equal(api.call("get_key", 200, made.id).key, None, "the key of a key that is shown again")
    api.call("revoke_key", 204, made.id)
    expect("key.revoke" in [entry.action for entry in api.call("list_audit", 200, subject=made.id).items], "the trail")
    api.client = api.keyed(made.key)
    api.call("get_host", 401)


def bytes_of(file):
    return file if isinstance(file, bytes) else file.payload.getvalue()

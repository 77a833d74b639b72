"""The expositions, held to what reads them."""
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from checks.lifecycle import create
from testbed import processes
from testbed.checks import Skipped, check, equal, expect
from testbed.daemon import Daemon
from testbed.exposition import Exposition

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
# What Prometheus itself asks for.
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def busy(daemon):
    """A server that has seen some of everything; the VMs still there."""
    client = daemon.client()
    vms = [create(client, image=image) for image in ("spin", "pio", "mmio", "halt", "hello", "echo")]
    for vm in vms[:3]:
        for _ in range(5):
            client.post(f"{vm}/kick")
    client.post(f"{vms[0]}/pause")
    client.post(f"{vms[0]}/kick")
    for path in ("/v1/vms", "/nothing", "/v1/vms/vm-0000000000000000", "/v1/host?x=1", "/metrics", "/metrics/vcpus"):
        client.get(path)
    client("BREW", "/v1/vms")
    equal(client.delete(vms.pop()).status, 204, "deleting")
    return vms


def exposed(client, path, accept, wanted):
    answer = client.get(path, Accept=accept)
    equal((answer.status, answer.headers["Content-Type"]), (200, wanted), f"{path} for {accept}")
    return answer.text


@check("a server that nobody else asks says that no request waits")
def waiting():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for _ in range(20):
            expect("\nvmpool_http_waiting 0\n" in client.get("/metrics").text, "the scrape counts itself")


@check("promtool has no complaint")
def promtool():
    if processes.which("promtool") is None:
        raise Skipped("promtool is missing: apt-get install prometheus")
    with Daemon() as daemon:
        busy(daemon)
        for path in ("/metrics", "/metrics/vcpus"):
            text = exposed(daemon.client(), path, "text/plain", TEXT)
            result = processes.run(["promtool", "check", "metrics"], input=text)
            equal((result.returncode, result.stdout + result.stderr), (0, ""), f"promtool on {path}")


@check("the strict parsers take both formats, and both say the same")
def parsers():
    with Daemon() as daemon:
        busy(daemon)
        client = daemon.client()
        for path in ("/metrics", "/metrics/vcpus"):
            for accept in (OPENMETRICS, PROMETHEUS_ACCEPT):
                text = exposed(client, path, accept, OPENMETRICS)
                families = list(openmetrics_parser.text_string_to_metric_families(text))
                expect(text.endswith("# EOF\n"), "no # EOF")
            open_names = {sample.name for family in families for sample in family.samples}
            for accept in ("", "*/*", "text/plain;version=0.0.4", "text/html,*/*;q=0.1"):
                text = exposed(client, path, accept, TEXT)
            plain = list(parser.text_string_to_metric_families(text))
            names = {sample.name for family in plain for sample in family.samples}
            equal(names ^ open_names, set(), f"series of {path} in one format only")
            for family in families:
                expect(family.documentation and family.type != "unknown", lambda: f"{family.name} says too little")


@check("every metric that dashboard, alerts and runbook name is there, and docs/metrics.md lists them all")
def deployed():
    file = processes.scratch_directory("configuration") / "vmpoold.yaml"
    file.write_text("pools: {limited: {image: hello, ready: 1, max_vms: 2}}\n")
    with Daemon("--config", file) as daemon:
        busy(daemon)
        directory = processes.scratch_directory("metrics")
        files = []
        for path in ("/metrics", "/metrics/vcpus"):
            files.append(directory / path.replace("/", "-"))
            files[-1].write_text(daemon.client().get(path).text)
        command = [processes.PYTHON, processes.ROOT / "Tests/Deploy/dashboard_metrics.py", *files]
        result = processes.run(command)
        equal(result.returncode, 0, f"{result.stdout}{result.stderr}")
        return result.stdout.strip()


@check("no series outlives what it describes, and none is named by a request")
def series():
    with Daemon() as daemon:
        client = daemon.client()
        vms = busy(daemon)
        client.put("/v1/pools/short-lived", {"image": "spin", "ready": 1})
        text = client.get("/metrics/vcpus").text
        living = [vm.rsplit("/")[-1] for vm in vms[:3]]
        for vm in living:
            expect(vm in text, lambda: f"{vm} runs and has no series")
        client.get("/v1/images/evil-name")
        client("EVIL", "/evil-path/evil-name?evil=1")
        for vm in vms:
            client.delete(vm)
        client.delete("/v1/pools/short-lived")
        text = client.get("/metrics").text + client.get("/metrics/vcpus").text
        for gone in ("vm-", "short-lived", "evil", "EVIL"):
            expect(gone not in text, lambda: f"{gone} is still in the metrics")
        exposition = Exposition.of(client)
        kicks = exposition.total("vmpool_kicks_total", pool="_none")
        equal(kicks, 16, "the kicks of deleted VMs")

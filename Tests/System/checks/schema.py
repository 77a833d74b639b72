"""schemathesis: requests made of the OpenAPI document, answers held to it."""
import os
import re
import time

import yaml

from checks.keys import closed
from testbed import processes
from testbed.checks import check, equal, expect
from testbed.client import Client
from testbed.daemon import Daemon

# Cases an operation, in each phase that makes them up.
EXAMPLES = int(os.environ.get("VMPOOL_SCHEMA_EXAMPLES", "10"))


@check("the server does what its OpenAPI document says")
def schemathesis():
    directory = processes.scratch_directory("schemathesis")
    seed = int(os.environ.get("VMPOOL_SCHEMA_SEED", str(int(time.time()))))
    with Daemon() as daemon:
        # schemathesis makes keys, and the first one closes the server.
        operator = closed(daemon)
        own = operator.get("/v1/keys").json["items"][0]["id"]
        document = directory / "openapi.yaml"
        document.write_bytes(daemon.client().get("/openapi.yaml").body)
        configuration = processes.ROOT / "Tests/System/schemathesis.toml"
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(configuration.with_name("schemathesis_hooks.py")),
                       "VMPOOL_OPERATOR_KEY": own}
        command = [
            processes.PYTHON, "-m", "schemathesis.cli", "--config-file", configuration, "run", document,
            "--url", daemon.url, "--header", f"Authorization: {operator.headers['Authorization']}", "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful",
            "--max-examples", EXAMPLES, "--seed", seed, "--continue-on-failure", "--generation-database", "none",
            "--no-color", "--suppress-health-check", "all",
        ]
        with open(directory / "output", "wb") as output:
            process = processes.start(command, cwd=directory, env=environment, stdout=output, stderr=output)
        with Client(daemon.address, 60) as client:
            client.headers = operator.headers
            keeper = Keeper(client)
            while process.poll() is None:
                keeper.tidy()
                time.sleep(0.1)
        text = (directory / "output").read_text()
        told = text[text.find("=== FAILURES"):] if "=== FAILURES" in text else text
        expect(process.returncode == 0, lambda: f"with seed {seed} it exits with {process.returncode}:\n{told}")
        for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
            expect(re.search(rf"✅ {phase}", text), lambda: f"the phase {phase} did not run:\n{text}")
        equal(int(re.search(r"Tested: (\d+)", text)[1]), count_operations(document), "the operations tested")
        summary = [line.strip() for line in text.splitlines() if "generated" in line]
        return f"seed {seed}: {' '.join(summary)}"


def count_operations(document):
    paths = yaml.safe_load(document.read_text())["paths"]
    return sum("operationId" in item for path in paths.values() for item in path.values())


class Keeper:
    """Keeps the machine usable: what schemathesis makes and forgets is stopped soon and deleted in the end, leases are
    released, and large pools deleted before the server has filled them with all the VMs it may have."""

    STOP_AFTER, SHRINK_AFTER, RELEASE_AFTER, DELETE_AFTER = 1, 3, 5, 30
    LARGE = 50

    def __init__(self, client):
        self.client = client
        self.seen = {}

    def tidy(self):
        now = time.monotonic()
        for vm in self.client.get("/v1/vms?limit=1000").json["items"]:
            age = now - self.seen.setdefault(vm["id"], now)
            path = "/v1/vms/" + vm["id"]
            if age > self.DELETE_AFTER and vm["state"] == "stopped":
                self.client.delete(path)
            elif age > self.STOP_AFTER and vm["state"] == "running":
                self.client.post(f"{path}/stop")
        for lease in self.client.get("/v1/leases?limit=1000").json["items"]:
            if now - self.seen.setdefault(lease["lease"], now) > self.RELEASE_AFTER:
                self.client.delete("/v1/leases/" + lease["lease"])
        for pool in self.client.get("/v1/pools?limit=1000").json["items"]:
            age = now - self.seen.setdefault(pool["name"], now)
            limit = self.SHRINK_AFTER if pool["ready"]["max"] > self.LARGE else self.DELETE_AFTER
            if age > limit and pool["name"] != "demo":
                self.client.delete(f"/v1/pools/{pool['name']}?force=true")
                del self.seen[pool["name"]]

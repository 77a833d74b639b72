"""Debian's own Prometheus, with the configuration that is shipped, scrapes the server."""
import http.client
import shutil
import socket
import urllib.parse

import yaml

from checks.lifecycle import create
from testbed import processes
from testbed.checks import Skipped, check, equal, eventually, expect
from testbed.client import Client
from testbed.daemon import Daemon

QUANTILE = "histogram_quantile(0.99, sum by (le) (rate(vmpool_kick_latency_seconds_bucket[1m])))"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def configuration(daemon, directory):
    """The shipped configuration, with the test's target, and a scrape a second."""
    shipped = processes.ROOT / "deploy/prometheus"
    for rules in ("recording.yml", "alerts.yml"):
        shutil.copy(shipped / rules, directory)
    document = yaml.safe_load((shipped / "prometheus.yml").read_text())
    equal(document["rule_files"], ["recording.yml", "alerts.yml"], "the rule files shipped")
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in document["scrape_configs"]:
        equal(job["static_configs"], [{"targets": ["127.0.0.1:8080"]}], f"the target of {job['job_name']} as shipped")
        job["static_configs"] = [{"targets": ["127.0.0.1:%d" % daemon.address[1]]}]
        job.pop("scrape_interval", None)
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(document))
    return path


@check("a query for the 99th percentile of the kick latency returns a number")
def scrape():
    if processes.which("prometheus") is None:
        raise Skipped("prometheus is missing: apt-get install prometheus")
    directory = processes.scratch_directory("prometheus")
    with Daemon() as daemon:
        port = free_port()
        command = ["prometheus", f"--config.file={configuration(daemon, directory)}",
                   f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        with open(directory / "log", "wb") as log:
            process = processes.start(command, stdout=log, stderr=log)
        try:
            with Client(("127.0.0.1", port)) as api:
                return look(daemon, api)
        except Exception:
            print((directory / "log").read_text()[-2000:])
            raise
        finally:
            process.kill()
            process.wait()


def look(daemon, api):
    client = daemon.client()
    vm = create(client, image="spin")

    def query(expression):
        """The values of an instant query; nothing while Prometheus is not up."""
        try:
            answer = api.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        except (ConnectionError, http.client.HTTPException):
            return []
        if answer.status != 200:
            return []
        return [(found["metric"], float(found["value"][1])) for found in answer.json["data"]["result"]]

    def percentile():
        equal(client.post(f"{vm}/kick").status, 200, "a kick")
        return [value for _, value in query(QUANTILE) if value == value]

    found = eventually("the query returns a number", percentile, 60)[0]
    expect(0 < found < 1, lambda: f"an odd latency: {found}")
    up = {metric["job"]: value for metric, value in query("up")}
    equal(up, {"vmpool": 1, "vmpool-vcpus": 1}, "the targets")
    rule = 'vmpool_kick_latency_seconds:p99_5m{pool="_none"} > 0'
    recorded = eventually("the recording rule has a value", lambda: query(rule))
    expect(recorded[0][0]["pool"] == "_none", lambda: f"the recording rule: {recorded}")
    count = eventually("every rule was evaluated without an error", lambda: healthy_rules(api))
    alerts = api.get("/api/v1/alerts").json["data"]["alerts"]
    firing = [alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"]
    equal(firing, [], "alerts that fire on a healthy server")
    return f"{found * 1e6:.0f} µs, {count} rules"


def healthy_rules(api):
    """The number of rules; 0 unless each was evaluated and none failed."""
    rules = [rule for group in api.get("/api/v1/rules").json["data"]["groups"] for rule in group["rules"]]
    return len(rules) if all(rule["health"] == "ok" for rule in rules) else 0

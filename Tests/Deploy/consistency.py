#!/usr/bin/env python3
"""Holds the files under deploy/ and the runbook to each other.

    consistency.py CHECK     exits with 1 and says what is wrong
"""
import json
import re
import sys

import yaml

from dashboard_metrics import ROOT, dashboard, panels, rules

PROMETHEUS = ROOT / "deploy/prometheus"
KUBERNETES = ROOT / "deploy/kubernetes"
SEVERITIES = {"critical", "warning", "info"}


def load(path):
    return yaml.safe_load(path.read_text())


def alerts():
    """Every alert says how bad it is and where it is explained, and a test shows it firing and not firing."""
    fires, silent = set(), set()
    for test in load(PROMETHEUS / "alerts_test.yml")["tests"]:
        for case in test.get("alert_rule_test", []):
            (fires if case.get("exp_alerts") else silent).add(case["alertname"])
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.M)
    named = [rule for rule in rules() if "alert" in rule]
    for rule in named:
        name, notes = rule["alert"], rule.get("annotations", {})
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            yield f"{name}: severity is none of {sorted(SEVERITIES)}"
        if not notes.get("summary"):
            yield f"{name}: no summary"
        if not notes.get("description"):
            yield f"{name}: no description"
        if not notes.get("runbook_url", "").endswith(f"/runbook.md#{name.lower()}"):
            yield f"{name}: runbook_url does not end with /runbook.md#{name.lower()}"
        if "job=" in rule["expr"]:
            yield f"{name}: it depends on the name of a job"
        if name not in headings:
            yield f"{name}: no section in docs/runbook.md"
        if name not in fires:
            yield f"{name}: no case in alerts_test.yml in which it fires"
        if name not in silent:
            yield f"{name}: no case in alerts_test.yml in which it does not fire"
    for heading in headings:
        if heading.startswith("Vmpool") and heading not in {rule["alert"] for rule in named}:
            yield f"docs/runbook.md: {heading} is no alert"


def runbook():
    """Every link within the runbook, and into it, leads to a heading."""
    text = (ROOT / "docs/runbook.md").read_text()
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }
    outside = re.findall(r"\]\(runbook\.md#([^)]+)\)", (ROOT / "docs/metrics.md").read_text())
    for anchor in re.findall(r"\]\(#([^)]+)\)", text) + outside:
        if anchor not in anchors:
            yield f"docs/runbook.md: #{anchor} leads nowhere"


def scrape():
    """compose.yml is prometheus.yml with other targets, which speak TLS."""
    host, compose = load(PROMETHEUS / "prometheus.yml"), load(PROMETHEUS / "compose.yml")
    for config in (host, compose):
        for job in config["scrape_configs"]:
            del job["static_configs"]
    for job in compose["scrape_configs"]:
        if job.pop("scheme", None) != "https" or not job.pop("tls_config", None):
            yield f"compose.yml: {job['job_name']} does not speak TLS"
    if host != compose:
        yield "prometheus.yml and compose.yml differ in more than their targets and TLS"


def grafana():
    """The dashboard can be imported anywhere: no fixed data source, distinct panels that do not overlap."""
    board = dashboard()
    if board["id"] is not None:
        yield "id must be null"
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    if variables.get("datasource", {}).get("type") != "datasource":
        yield "no datasource variable"
    if "pool" not in variables:
        yield "no pool variable"
    for name in re.findall(r'"uid": "([^"]*)"', json.dumps(board)):
        if name not in ("vmpool", "${datasource}"):
            yield f"fixed data source {name}"
    for name in set(re.findall(r'\$\{?(\w+)', json.dumps(board))) - set(variables):
        if not name.startswith("__"):
            yield f"unknown variable ${name}"
    taken, numbers = {}, set()
    for panel in panels(board):
        title, place = panel["title"], panel["gridPos"]
        if panel["id"] in numbers:
            yield f"{title}: id {panel['id']} is taken"
        numbers.add(panel["id"])
        if panel["type"] != "row" and not (panel.get("targets") and panel.get("description")):
            yield f"{title}: no query or no description"
        if place["x"] + place["w"] > 24:
            yield f"{title}: wider than the grid"
        for cell in ((place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])):
            if taken.setdefault(cell, title) != title:
                yield f"{title}: overlaps {taken[cell]}"
                break


def compose():
    """Nothing is published beyond loopback, and each service runs with as little as it can."""
    services = load(ROOT / "deploy/docker/compose.yaml")["services"]
    for name, service in services.items():
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}: port {port} is published beyond loopback"
        if service.get("read_only") is not True:
            yield f"{name}: not read_only"
        if service.get("cap_drop") != ["ALL"]:
            yield f"{name}: capabilities kept"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name}: no no-new-privileges"
        if service.get("privileged") or service.get("network_mode"):
            yield f"{name}: privileged, or on another network"
    server = services["vmpoold"]
    if [device.split(":")[0] for device in server["devices"]] != ["/dev/kvm"]:
        yield "vmpoold: devices are not /dev/kvm alone"
    for job in load(PROMETHEUS / "compose.yml")["scrape_configs"]:
        for target in (target for group in job["static_configs"] for target in group["targets"]):
            host = target.split(":")[0]
            if host not in services or f"--allow-host={host}" not in server["command"]:
                yield f"vmpoold: Prometheus's name for it, {host}, is no service or not allowed"


def network():
    """Where a server listens on more than loopback, it speaks TLS, and asks for keys."""
    cases = {
        "compose.yaml": (load(ROOT / "deploy/docker/compose.yaml")["services"]["vmpoold"]["command"],
                         load(ROOT / "deploy/docker/vmpoold.yaml")),
        "daemonset.yaml": (load(KUBERNETES / "daemonset.yaml")["spec"]["template"]["spec"]["containers"][0]["args"],
                           yaml.safe_load(load(KUBERNETES / "configuration.yaml")["data"]["vmpoold.yaml"])),
    }
    for name, (words, configuration) in cases.items():
        options = {word.split("=")[0] for word in words}
        if "--insecure-listen" in options:
            yield f"{name}: --insecure-listen"
        for option in ("--tls-cert", "--tls-key", "--config"):
            if option not in options:
                yield f"{name}: no {option}"
        if "access" not in configuration:
            yield f"{name}: its configuration has no section access, so that an early client would be an operator"
    if "--insecure-listen" in (ROOT / "deploy/docker/Dockerfile").read_text():
        yield "Dockerfile: --insecure-listen"


UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def in_mib(text):
    """A size such as 1Gi (Kubernetes) or 4g (Docker) in MiB."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", str(text)).groups()
    return int(number) * UNITS[unit] / (1 << 20) if unit else int(number) / (1 << 20)


def option(words, name):
    """The number that an option of vmpoold has among these words."""
    found = [int(word.split("=")[1]) for word in words if word.startswith(f"{name}=")]
    return found[0] if len(found) == 1 else None


def limits():
    """What the server may use is within what its container or service may."""
    server = load(ROOT / "deploy/docker/compose.yaml")["services"]["vmpoold"]
    pod = load(KUBERNETES / "daemonset.yaml")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    resources = container["resources"]
    cases = {
        "compose.yaml": (server["command"], in_mib(server["mem_limit"])),
        "daemonset.yaml": (container["args"], in_mib(resources["limits"]["memory"])),
    }
    for name, (words, memory) in cases.items():
        guests = option(words, "--max-memory-mib")
        if guests is None or guests > memory / 5 * 4:
            yield f"{name}: --max-memory-mib is {guests}, and the memory limit is {memory:.0f} MiB"
        if option(words, "--max-blobs-mib") is None:
            yield f"{name}: no --max-blobs-mib"
    if server.get("memswap_limit") != server["mem_limit"]:
        yield "compose.yaml: guests would be swapped: memswap_limit is not mem_limit"
    if not server.get("pids_limit"):
        yield "compose.yaml: no pids_limit"
    if resources["limits"]["memory"] != resources["requests"]["memory"]:
        yield "daemonset.yaml: memory is promised that was not asked for"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    volume, blobs = in_mib(volumes["state"]["emptyDir"]["sizeLimit"]), option(container["args"], "--max-blobs-mib")
    if blobs is not None and blobs * 2 > volume:
        yield f"daemonset.yaml: blobs of {blobs} MiB and a volume of {volume:.0f} MiB"
    if (option(container["args"], "--max-image-mib") or 1024) > (blobs or 16384):
        yield "daemonset.yaml: one image may be larger than all together"
    for kind in ("requests", "limits"):
        if in_mib(resources[kind].get("ephemeral-storage", 0)) < volume:
            yield f"daemonset.yaml: ephemeral-storage in {kind} is less than the volume"
    unit = (ROOT / "deploy/systemd/vmpoold.service").read_text()
    for setting in ("MemoryMax=", "TasksMax=", "LimitNOFILE=", "WatchdogSec="):
        if not re.search(f"^{setting}", unit, re.M):
            yield f"vmpoold.service: no {setting}"


def kustomization():
    """The kustomization lists every manifest, and all of them lie in its namespace."""
    listed = load(KUBERNETES / "kustomization.yaml")
    present = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    if set(listed["resources"]) != present:
        yield f"listed {sorted(listed['resources'])}, present {sorted(present)}"
    for name in sorted(present):
        manifest = load(KUBERNETES / name)
        place = manifest["metadata"].get("namespace", manifest["metadata"]["name"])
        if place != listed["namespace"]:
            yield f"{name}: namespace {place}"


CHECKS = {
    check.__name__: check for check in (alerts, runbook, scrape, grafana, compose, network, limits, kustomization)
}


def main(arguments):
    if len(arguments) != 1 or arguments[0] not in CHECKS:
        print(f"usage: consistency.py {'|'.join(CHECKS)}", file=sys.stderr)
        return 2
    problems = list(CHECKS[arguments[0]]())
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

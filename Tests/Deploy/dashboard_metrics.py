#!/usr/bin/env python3
"""Holds every PromQL expression under deploy/ and in the runbook to what a server exposes.

    dashboard_metrics.py                     the metrics are those that docs/metrics.md lists
    dashboard_metrics.py METRICS_FILE...     the metrics are those of a server, whose text expositions (0.0.4 or
                                             OpenMetrics) are taken together; docs/metrics.md must list the same ones
    dashboard_metrics.py --as-rules          print the expressions as a rule file, for promtool to parse

Each metric that an expression names must be there, and each label it selects by must be on it. Exits with 1 and names
what is missing, with 2 when it cannot tell. Needs PyYAML; `Tests/Deploy/check --live FILE...` brings it along.
"""
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
# What Prometheus itself adds.
OWN_METRICS = {"up", "ALERTS"}
OWN_LABELS = {"job", "instance", "le", "alertname", "alertstate"}

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
SELECTOR = re.compile(rf"(?<![\w:$])(?P<name>{NAME})?\s*(?P<labels>\{{[^{{}}]*\}})?(?P<call>\s*\()?")
SAMPLE = re.compile(rf"^(?P<name>{NAME})(?P<labels>\{{[^{{}}]*\}})?\s+\S")
SUFFIXES = {
    "counter": ["", "_total"],
    "histogram": ["_bucket", "_sum", "_count"],
    "summary": ["", "_sum", "_count"],
    "info": ["_info"],
}


def rule_files():
    return [ROOT / "deploy/prometheus" / name for name in ("recording.yml", "alerts.yml")]


def rules():
    return [
        rule
        for path in rule_files()
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def dashboard():
    return json.loads((ROOT / "deploy/grafana/vmpool.json").read_text())


def variable_expression(query):
    """The selector inside Grafana's label_values(SELECTOR, LABEL)."""
    found = re.fullmatch(r"label_values\((.+),\s*\w+\)", query)
    if not found:
        raise ValueError(f"cannot read the variable's query: {query}")
    return found[1]


def expressions():
    """Pairs of where an expression stands and the expression."""
    for rule in rules():
        yield f"rule {rule.get('alert') or rule['record']}", rule["expr"]
    board = dashboard()
    for panel in panels(board):
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable_expression(variable["query"]["query"])
    for block in re.findall(r"^```promql\n(.*?)^```", (ROOT / "docs/runbook.md").read_text(), re.M | re.S):
        for line in block.splitlines():
            yield "runbook", line


def selected(expression):
    """Pairs of a metric that a PromQL expression names and the labels it selects by."""
    text = re.sub(r"#.*", "", STRING.sub('""', expression))
    text = re.sub(r"\[[^\]]*\]", "", GROUPING.sub(" ", text))
    for found in SELECTOR.finditer(text):
        name, labels = found["name"], found["labels"]
        if labels and not name:
            raise ValueError(f"a selector without a metric's name: {expression}")
        if name and not found["call"] and name.lower() not in KEYWORDS:
            yield name, set(re.findall(rf"({NAME})\s*[=!]", labels or ""))


def documented():
    """The families that docs/metrics.md lists: type and labels by name."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([\w, ]*)\|", (ROOT / "docs/metrics.md").read_text(), re.M)
    return {name: (kind, set(filter(None, labels.replace(" ", "").split(",")))) for name, kind, labels in rows}


def documented_series():
    """The series of the documented families, each with its labels."""
    return {
        family + suffix: labels | ({"le"} if suffix == "_bucket" else set())
        for family, (kind, labels) in documented().items()
        for suffix in (SUFFIXES["histogram"] if kind == "histogram" else [""])
    }


def exposed_families(texts):
    """The type and the labels of each family that a server exposes; labels are None where there was no sample."""
    types = {}
    for line in "\n".join(texts).splitlines():
        words = line.split()
        if words[:2] == ["#", "TYPE"]:
            # OpenMetrics leaves the suffix out.
            counter = words[3] == "counter" and not words[2].endswith("_total")
            types[words[2] + ("_total" if counter else "")] = words[3]
    series = exposed(texts)
    found = {}
    for family, kind in types.items():
        seen = [series.get(family + suffix) for suffix in (SUFFIXES["histogram"] if kind == "histogram" else [""])]
        seen = [labels for labels in seen if labels is not None]
        found[family] = (kind, set().union(*seen) - {"le"} if seen else None)
    return found


def undocumented(texts):
    """Where docs/metrics.md and a server differ."""
    wanted, found = documented(), exposed_families(texts)
    for name in sorted(wanted.keys() - found.keys()):
        yield f"docs/metrics.md: {name} is no metric of the server"
    for name in sorted(found.keys() - wanted.keys()):
        yield f"docs/metrics.md: {name} is missing"
    for name in sorted(wanted.keys() & found.keys()):
        kind, labels = found[name]
        if wanted[name][0] != kind:
            yield f"docs/metrics.md: {name} is a {kind}, not a {wanted[name][0]}"
        if labels is not None and labels != wanted[name][1]:
            yield f"docs/metrics.md: {name} has the labels {sorted(labels)}, not {sorted(wanted[name][1])}"


def exposed(texts):
    """The series names a server exposes, each with the labels seen on it (None where there was no sample)."""
    names = {}
    for line in "\n".join(texts).splitlines():
        words = line.split()
        if words[:2] == ["#", "TYPE"]:
            for suffix in SUFFIXES.get(words[3], [""]):
                names.setdefault(words[2] + suffix, None)
        elif found := SAMPLE.match(STRING.sub('""', line)):
            labels = set(re.findall(rf"({NAME})=", found["labels"] or ""))
            names[found["name"]] = (names.get(found["name"]) or set()) | labels
    return names


def missing(names):
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for where, expression in expressions():
        for name, labels in selected(expression):
            if name in OWN_METRICS or name in recorded:
                continue
            if name not in names:
                yield f"{where}: no metric {name}"
            elif names[name] is not None:
                for label in sorted(labels - names[name] - OWN_LABELS):
                    yield f"{where}: no label {label} on {name}"


def as_rules():
    """The expressions as recording rules, Grafana's variables replaced by values."""
    replaced = [(r"\$__(rate_interval|range|interval)", "5m"), (r"\$\w+", "x")]
    result = []
    for number, (_, expression) in enumerate(expressions()):
        for pattern, value in replaced:
            expression = re.sub(pattern, value, expression)
        result.append({"record": f"expression:{number}", "expr": expression})
    return yaml.safe_dump({"groups": [{"name": "expressions", "rules": result}]})


def main(arguments):
    if arguments == ["--as-rules"]:
        print(as_rules())
        return 0
    if arguments and arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    texts = [pathlib.Path(path).read_text() for path in arguments]
    names = exposed(texts) if texts else documented_series()
    if not names:
        print("no metric in " + (" ".join(arguments) or "docs/metrics.md"), file=sys.stderr)
        return 2
    problems = sorted(set(missing(names))) + (list(undocumented(texts)) if texts else [])
    print("\n".join(problems) if problems else f"every metric is there, {len(list(expressions()))} expressions")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

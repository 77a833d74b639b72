"""Puts the figures of reports into a document, between <!-- figures: NAME --> and <!-- /figures -->.

usage: tables.py REPORTS DOCUMENT
"""
import json
import pathlib
import re
import sys

SIDES = ("bare", "vmpool")


def duration(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            value = ns / size
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    return f"{ns} ns"


def cell(item, name):
    spread = item["ratios"].get(name)
    if not spread:
        return "–"
    return f"{spread['median']:.3f} ({spread['lower_quartile']:.2f}–{spread['upper_quartile']:.2f})"


def quantile(item, side, figure, name="p50_ns"):
    found = item[side]["durations"].get(figure)
    return duration(found[name]) if found else "–"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def latency(report, label):
    """Request to KVM_RUN left, on both sides, and its two parts."""
    rows = []
    for item in report["cases"]:
        for side in SIDES:
            rows.append(
                [label(item["subject"]), "bare C" if side == "bare" else "vmpool"]
                + [quantile(item, side, "latency", name) for name in ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max")]
                + [quantile(item, side, "signal"), quantile(item, side, "exit")]
                + [cell(item, "latency_p50") if side == "vmpool" else ""])
    return table(["", "", "p50", "p90", "p99", "p99.9", "max", "to the handler, p50", "and out, p50", "ratio of p50"], rows)


def landed(report, label):
    rows = []
    for item in report["cases"]:
        counts = item["vmpool"]["counts"]
        names = ("guest", "entry", "host", "parked", "lost", "coalesced", "resent")
        rows.append([label(item["subject"])] + [str(counts.get(name, 0)) for name in names])
    return table(["vmpool's kicks", "`guest`", "`entry`", "`host`", "`parked`", "lost", "coalesced", "re-sent"], rows)


def mechanism(subject):
    return f"`{subject['mechanism']}`"


def guest(subject):
    return f"`{subject['guest']}`"


def kickers(report):
    rows = []
    for item in report["cases"]:
        if item["subject"]["kickers"] == 1:
            continue
        for side in SIDES:
            durations, counts = item[side]["durations"], item[side]["counts"]
            rows.append([
                str(item["subject"]["kickers"]), "bare C" if side == "bare" else "vmpool",
                f"{1e9 / durations['storm_of_one']['p50_ns']:.0f}", f"{1e9 / durations['storm']['p50_ns']:.0f}",
                cell(item, f"throughput_to_one_kicker_{side}"), quantile(item, side, "call"),
                quantile(item, side, "call", "p99_ns"), str(counts["acknowledged"]), str(counts.get("coalesced", "–")),
                str(counts["lost"])])
    return table(
        ["kickers", "", "kicks/s of one", "kicks/s of all", "gain", "answered, p50", "p99", "acknowledged", "coalesced",
         "lost"], rows)


def vcpus(report):
    rows = []
    for item in report["cases"]:
        for side in SIDES:
            rows.append([
                str(item["subject"]["vcpus"]), "bare C" if side == "bare" else "vmpool", quantile(item, side, "call"),
                quantile(item, side, "call", "p99_ns"), quantile(item, side, "slowest_single"),
                quantile(item, side, "broadcast"), cell(item, f"broadcast_to_slowest_single_{side}")])
    return table(
        ["vCPUs", "", "one kick answered, p50", "p99", "slowest one by one, p50", "all at once, p50", "ratio"], rows)


def exits(report):
    rows = []
    for item in report["cases"]:
        subject = item["subject"]
        rows.append([
            f"`{subject['guest']}`", f"`{subject['mechanism']}`", quantile(item, "bare", "per_exit"),
            quantile(item, "vmpool", "per_exit"), cell(item, "per_exit_p50"),
            cell(item, "cpu_per_exit_to_immediate_exit_bare")])
    return table(["guest", "mechanism", "bare C", "vmpool", "ratio", "processor time to `immediate_exit`'s, bare C"], rows)


def at_once(report):
    by_number = {}
    for item in report["cases"]:
        by_number.setdefault(item["subject"]["vcpus"], {})[item["subject"]["mechanism"]] = item
    rows = []
    for number, items in by_number.items():
        plain, masked = items["immediate_exit"], items["signal_mask"]
        row = [str(number)]
        for side in SIDES:
            p50 = [item[side]["durations"]["cpu_per_exit"]["p50_ns"] for item in (plain, masked)]
            row += [f"{p50[0]} ns", f"{p50[1]} ns", f"{p50[1] - p50[0]:+d} ns",
                    cell(masked, f"cpu_per_exit_to_immediate_exit_{side}")]
        rows.append(row)
    head = ["vCPUs"]
    for side in ("bare C", "vmpool"):
        head += [f"{side}: `immediate_exit`", "`signal_mask`", "difference", "ratio"]
    return table(head, rows)


TABLES = {
    "mechanisms": lambda report: latency(report, mechanism) + "\n\n" + landed(report, mechanism),
    "guests": lambda report: latency(report, guest) + "\n\n" + landed(report, guest),
    "kickers": kickers, "vcpus": vcpus, "exits": exits, "exits-at-once": at_once,
}


def host(report):
    facts = report["host"]
    kind = "paravirtual KVM (`kvm_pvm`)" if facts["kvm_pvm"] else "KVM"
    return (f"{facts['cpu']}, {facts['cpus']} processors, Linux {facts['kernel']}, {kind}"
            + (", itself a virtual machine" if facts["virtual"] else "") + f"; vmpool {report['version']}.")


def section(reports, name):
    if name == "qmp-pause":
        text = (reports / "qmp-pause.txt").read_text().rstrip()
        return f"`{(reports / 'qmp-pause.command').read_text().strip()}`\n\n```\n{text}\n```"
    if name == "host":
        return host(json.loads((reports / "mechanisms.json").read_text()))
    command = (reports / f"{name}.command").read_text().strip()
    return f"`{command}`\n\n" + TABLES[name](json.loads((reports / f"{name}.json").read_text()))


def main(reports, document):
    reports, document = pathlib.Path(reports), pathlib.Path(document)
    pattern = r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- /figures -->)"
    text, count = re.subn(
        pattern, lambda match: f"{match[1]}\n{section(reports, match[2])}\n\n{match[3]}", document.read_text(), flags=re.S)
    wanted = len(TABLES) + 2
    if count != wanted:
        sys.exit(f"{document} has places for {count} sets of figures, and {wanted} are wanted")
    document.write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

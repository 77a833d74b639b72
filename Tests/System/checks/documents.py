"""Documents that tell an operator what to type."""
import re
import shlex

from testbed import processes
from testbed.checks import check, expect


def commands():
    """The vmpool commands in the runbook, words in capitals for what an operator fills in."""
    text = (processes.ROOT / "docs/runbook.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`(vmpool [^`]+)`", text)
    for line in lines:
        # In a table a pipe is written with a backslash.
        for part in re.split(r"[|;&]+", line.replace("\\|", "|")):
            if part.strip().startswith("vmpool "):
                yield shlex.split(part)


@check("every vmpool command in the runbook exists, with its options")
def runbook():
    found = list(commands())
    expect(len(found) > 20, lambda: f"only {len(found)} commands were found")
    problems = []
    for words in found:
        # Names of commands come first, and are lower-case words.
        path = []
        for word in words[1:]:
            if not re.fullmatch("[a-z]+", word):
                break
            path.append(word)
        result = processes.run([processes.BINARIES / "vmpool", *path, "--help"])
        # `vmpool bench` is a program of its own, which says so.
        usage = re.search(r"USAGE: vmpool[ -]?([a-z-]*( [a-z-]+)*)", result.stdout)
        if result.returncode != 0 or usage is None or usage[1].split()[: len(path)] != path:
            problems.append(f"{shlex.join(words)}: there is no such command: {result.stderr.strip()}")
            continue
        help = result.stdout
        if default := re.search(r"^  ([a-z]+)(, [a-z]+)* \(default\)", help, re.M):
            help += processes.run([processes.BINARIES / "vmpool", *path, default[1], "--help"]).stdout
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            if not re.search(rf"{re.escape(option)}\b", help):
                problems.append(f"{shlex.join(words)}: it has no {option}")
    expect(not problems, lambda: "\n".join(problems))
    return f"{len(found)} commands"

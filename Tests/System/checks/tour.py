"""The README's tour: every command a newcomer is told to type, typed."""
import os
import re
import socket

from testbed import processes
from testbed.checks import Failure, check, expect
from testbed.daemon import Daemon

PORT = 8080
EXPECTATION = re.compile(r"^# → ?(.*)$")
EXAMPLE = """
<!-- tour -->
Any text.
```sh
first=$(printf 'one\\ntwo'); echo "$first"
# → ^two$
```
```json
{"not": "a command"}
```
```sh
echo "again $first" \\
  | cat
# → again one
true
```
<!-- /tour -->
```sh
exit 1
```
"""


def blocks(text, mark):
    """The shell blocks of the tours of that mark in a Markdown text."""
    tours = re.findall(rf"^<!-- {mark} -->$(.*?)^<!-- /{mark} -->$", text, re.M | re.S)
    return [block for tour in tours for block in re.findall(r"^```sh\n(.*?)^```$", tour, re.M | re.S)]


def steps(block):
    """Pairs of commands and the pattern that their output must match; None where none is given."""
    commands = []
    for line in block.splitlines():
        if found := EXPECTATION.match(line):
            yield "\n".join(commands), found[1]
            commands = []
        else:
            commands.append(line)
    if "".join(commands).strip():
        yield "\n".join(commands), None


def take(text, mark="tour", **variables):
    """Types every command of the tours of that mark into one shell; the number of steps."""
    every = [step for block in blocks(text, mark) for step in steps(block)]
    expect(every, f"there is no ```sh block between <!-- {mark} --> and <!-- /{mark} -->")
    directory = processes.scratch_directory("tour")
    script = ["set -euo pipefail"]
    for number, (commands, _) in enumerate(every):
        script.append(f"{{\n{commands}\n}} >{directory}/{number}")
    environment = {**os.environ, "PATH": f"{processes.BINARIES}:{os.environ['PATH']}", **variables}
    work = processes.scratch_directory("typed")
    result = processes.run(["bash"], input="\n".join(script) + "\n", cwd=work, env=environment, timeout=300)
    for number, (commands, pattern) in enumerate(every):
        output = directory / str(number)
        last = not (directory / str(number + 1)).exists()
        expect(result.returncode == 0 or not last, lambda: f"{result.returncode} from:\n{commands}\n{result.stderr}")
        if pattern is not None:
            found = output.read_text()
            expect(re.search(pattern, found, re.M), lambda: f"no {pattern} from:\n{commands}\nbut:\n{found}")
    return len(every)


@check("the tour's own tools work")
def extractor():
    expect(take(EXAMPLE) == 3, "steps were lost")
    for wrong in (EXAMPLE.replace("again one", "never one"), EXAMPLE.replace("true", "false"), "no tour"):
        try:
            take(wrong)
        except Failure:
            continue
        raise Failure(f"this passes as a tour that works: {wrong}")


@check("every command of README.md does what it says")
def readme():
    text = (processes.ROOT / "README.md").read_text()
    with Daemon(listen=[f"127.0.0.1:{PORT if is_free(PORT) else 0}"]) as daemon:
        count = take(re.sub(rf"\b{PORT}\b", str(daemon.address[1]), text))
    return f"{count} steps"


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

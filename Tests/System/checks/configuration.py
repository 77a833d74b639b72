"""vmpoold check-config."""
from testbed import processes
from testbed.checks import check, equal, expect


def check_config(text):
    """What it says of a file with this text, and its exit status."""
    path = processes.scratch_directory("configuration") / "vmpoold.yaml"
    path.write_text(text)
    result = processes.run([processes.BINARIES / "vmpoold", "check-config", path])
    equal(result.stderr, "", "stderr")
    return result.stdout.replace(str(path), "FILE"), result.returncode


@check("check-config names every mistake with its line and column, and says nothing of a right file")
def mistakes():
    equal(check_config("pools:\n  build: {image: hello, ready: {min: 2, max: 4}}\n"), ("", 0), "a right file")
    said, status = check_config("pools:\n  build:\n    vcpu: 1\n    memory_mib: lots\n")
    equal(status, 65, "the exit status")
    lines = said.splitlines()
    equal([line.split(" ")[0] for line in lines], ["FILE:2:3:", "FILE:3:5:", "FILE:4:17:"], "the places")
    expect(lines[1].endswith("did you mean vcpus?"), lines[1])


@check("check-config exits 66 where there is no file, and 64 without a name")
def nothing_to_check():
    for words, status, word in ((["/nonexistent"], 66, "No such file"), ([], 64, "file")):
        result = processes.run([processes.BINARIES / "vmpoold", "check-config", *words])
        equal((result.returncode, result.stdout), (status, ""), f"check-config {words}")
        expect(word.lower() in result.stderr.lower(), result.stderr)

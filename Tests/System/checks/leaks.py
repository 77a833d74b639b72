"""Rounds and rounds of a VM's life leave the server as it was."""
import os

from checks.lifecycle import create
from testbed.checks import check, equal, expect
from testbed.daemon import Daemon

# `make soak` asks for thousands.
ROUNDS = int(os.environ.get("VMPOOL_ROUNDS", "300"))
# What the allocator may keep of what was given back.
SLACK = 4 << 20


def live(client, number):
    """A VM's life, another one each time."""
    image = ("spin", "echo", "pio", "hello")[number % 4]
    vm = create(client, image=image, vcpus=1 + (number % 2 if image == "spin" else 0), start=number % 3 != 0)
    kick = client.post(f"{vm}/kick")
    expect(kick.status in (200, 409), lambda: f"a kick: {kick}")
    if number % 5 == 0:
        client.post(f"{vm}/pause")
        client.get(f"{vm}/vcpus/0/registers")
    client.get(f"{vm}/console")
    equal(client.delete(vm).status, 204, "deleting")


@check("create, kick, delete: descriptors, threads and memory end where they began")
def rounds():
    with Daemon() as daemon:
        client = daemon.client()
        for number in range(60):
            live(client, number)
        before, resident = daemon.holdings(), daemon.resident_bytes()
        for number in range(ROUNDS):
            live(client, number)
        daemon.expect_unchanged(before, f"{ROUNDS} rounds")
        grown = daemon.resident_bytes() - resident
        expect(grown < SLACK, lambda: f"{ROUNDS} rounds left {grown >> 10} KiB behind")
        return f"{ROUNDS} rounds, {grown >> 10} KiB more"

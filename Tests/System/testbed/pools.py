"""Pools and leases, as the checks of them use them."""
import threading

from testbed.checks import becomes, equal
from testbed.client import Client


def declare(client, pool, image="spin", ready=1, **members):
    """Declares a pool, and waits until it is full."""
    answer = client.put(f"/v1/pools/{pool}", {"image": image, "ready": ready, **members})
    equal(answer.status, 201, f"declaring {pool}: {answer}")
    if not members.get("paused"):
        filled(client, pool)
    return answer


def filled(client, pool):
    becomes(client.get(f"/v1/pools/{pool}").json["ready"]["max"], "ready VMs", lambda: status(client, pool)["ready"])


def status(client, pool):
    return client.get(f"/v1/pools/{pool}").json["status"]


def lease(client, pool, **document):
    """A lease that there must be."""
    answer = client.post(f"/v1/pools/{pool}/leases", document)
    equal(answer.status, 201, f"leasing from {pool}: {answer}")
    return answer.json


def path(document):
    """Where a lease is found."""
    return "/v1/leases/" + document["lease"]


def release(client, document):
    equal(client.delete(path(document)).status, 204, f"releasing {document['lease']}")


class Asking(threading.Thread):
    """A request that somebody else makes, and that may take its time."""

    def __init__(self, address, method, path, body=None, headers=None):
        super().__init__(daemon=True)
        self.request = (method, path, body, headers)
        self.address = address
        self.answer = None
        self.error = None
        self.start()

    def run(self):
        try:
            with Client(self.address, 60) as client:
                self.answer = client(*self.request)
        except Exception as error:
            self.error = error

    def result(self, seconds=30):
        """The answer; raises what went wrong instead."""
        self.join(seconds)
        if self.error is not None:
            raise self.error
        return self.answer

"""Problem documents (RFC 9457), as the server promises them.

The table is the tests' own, so that a status that changes is noticed. A check in `refusals` compares its kinds and members
with those of the document that the server serves.
"""
from testbed.checks import equal, expect

STATUS = {
    "bad-request": 400,
    "malformed-json": 400,
    "invalid-member": 400,
    "invalid-parameter": 400,
    "unauthenticated": 401,
    "cross-site-request": 403,
    "scope-missing": 403,
    "unknown-host": 403,
    "route-not-found": 404,
    "image-not-found": 404,
    "blob-not-found": 404,
    "vm-not-found": 404,
    "vcpu-not-found": 404,
    "pool-not-found": 404,
    "method-not-allowed": 405,
    "request-timeout": 408,
    "lease-not-found": 404,
    "key-not-found": 404,
    "first-key-needs-admin": 409,
    "wrong-state": 409,
    "stale-fence": 409,
    "pool-draining": 409,
    "declared-in-file": 409,
    "builtin-image": 409,
    "image-in-use": 409,
    "blob-in-use": 409,
    "upload-in-progress": 409,
    "idempotency-key-in-use": 409,
    "lease-released": 410,
    "lease-expired": 410,
    "lease-lost": 410,
    "precondition-failed": 412,
    "payload-too-large": 413,
    "unsupported-media-type": 415,
    "wrong-offset": 416,
    "range-not-satisfiable": 416,
    "idempotency-key-reused": 422,
    "digest-mismatch": 422,
    "invalid-image": 422,
    "pool-exhausted": 429,
    "quota-exceeded": 429,
    "too-many-waiting": 429,
    "rate-limited": 429,
    "internal-error": 500,
    "draining": 503,
    "server-busy": 503,
    "resources-exhausted": 503,
    "storage-failed": 503,
    "kick-timeout": 504,
    "vm-quarantined": 504,
    "insufficient-storage": 507,
}
MEMBERS = {"type", "title", "status", "detail", "request_id", "pointer", "state", "waiting"}


def expect_problem(answer, kinds, what):
    """The answer is a problem of one of these kinds, whole in every part; returns the document."""
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    equal(answer.headers["Content-Type"], "application/problem+json", f"the type of the answer to {what}: {answer}")
    document = answer.json
    kind = document["type"].removeprefix("/problems/")
    expect(kind in kinds, lambda: f"{what}: {document}, not {' or '.join(kinds)}")
    equal((answer.status, document["status"]), (STATUS[kind],) * 2, f"the status for {what}")
    equal(document["request_id"], answer.headers["X-Request-Id"], f"the request's id for {what}")
    expect(document["title"] and document["detail"].endswith((".", "…")), lambda: f"{what}: {document}")
    expect(set(document) <= MEMBERS, lambda: f"{what}: {document}")
    expect(len(document["detail"]) < 1000, lambda: f"{what}: {len(document['detail'])} characters of detail")
    return document

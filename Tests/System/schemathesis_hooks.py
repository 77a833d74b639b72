"""What is done to the requests that schemathesis makes up before they are sent."""
import os

import schemathesis

# The id of the key that all requests come with. A request that revoked it would end the run.
OPERATOR = os.environ["VMPOOL_OPERATOR_KEY"]
# Milliseconds. A client may ask to wait for minutes, and schemathesis tries the longest times there are; what it learns
# in a minute it learns in a moment.
SHORT = 50
# MiB. A few VMs of the most memory that one may have would leave the host no room for another (503).
SMALL = 64
# By name: what is sent at most, and the most that is allowed. More than that is left alone: it is refused at once.
MOST = {"wait_ms": (SHORT, 600_000), "deadline_ms": (SHORT, 86_400_000), "timeout_ms": (SHORT, 86_400_000),
        "memory_mib": (SMALL, 65_536)}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """OpenAPI 3.1 has no word for the items of a stream, so that the document says "text" there, as client generators
    want it; schemathesis takes the schema of a stream for that of each event."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                stream = response.get("content", {}).get("text/event-stream")
                if stream:
                    stream["schema"] = {"$ref": "#/components/schemas/ServerSentEvent"}
                    del stream["examples"]


@schemathesis.hook
def before_call(context, case, kwargs):
    for parameters in (case.body, case.query):
        if isinstance(parameters, dict):
            moderate(parameters)
    if case.operation.definition.raw.get("operationId") == "revokeKey" and case.path_parameters.get("key_id") == OPERATOR:
        case.path_parameters["key_id"] = "key-0000000000000000"
    # What waits half a minute unless it is told otherwise.
    if case.operation.definition.raw.get("operationId") == "getVM" and "wait_for" in (case.query or {}):
        case.query.setdefault("timeout_ms", SHORT)


def moderate(parameters):
    for name, (sent, allowed) in MOST.items():
        value = parameters.get(name)
        if isinstance(value, str) and value.isdecimal():
            parameters[name] = str(moderated(int(value), sent, allowed))
        elif type(value) is int or type(value) is float and value.is_integer():
            parameters[name] = moderated(value, sent, allowed)


def moderated(value, sent, allowed):
    return sent if sent < value <= allowed else value

"""What is done to the requests that schemathesis makes up before they are sent."""
import schemathesis

# Milliseconds. A client may ask to wait for minutes, and schemathesis tries the longest times there are; what it learns
# in a minute it learns in a moment.
SHORT = 50
# By name: the longest time that is allowed. A longer one is left alone: it is refused at once.
LONGEST = {"wait_ms": 600_000, "deadline_ms": 86_400_000, "timeout_ms": 86_400_000}


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
            shorten(parameters)
    # What waits half a minute unless it is told otherwise.
    if case.operation.definition.raw.get("operationId") == "getVM" and "wait_for" in (case.query or {}):
        case.query.setdefault("timeout_ms", SHORT)


def shorten(parameters):
    for name, longest in LONGEST.items():
        value = parameters.get(name)
        if isinstance(value, str) and value.isdecimal():
            parameters[name] = str(shortened(int(value), longest))
        elif type(value) is int or type(value) is float and value.is_integer():
            parameters[name] = shortened(value, longest)


def shortened(value, longest):
    return SHORT if SHORT < value <= longest else value

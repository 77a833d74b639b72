"""Rules for the OpenAPI document, each for something that a generator or a viewer got wrong, or a client missed. The
tests of ManagementAPI hold the document to the server's routes and problems, schemathesis the server to the document."""
import re

import yaml

from testbed import processes
from testbed.checks import check, equal, expect

METHODS = ("get", "put", "post", "patch", "delete")
# Parameters of which the server takes every text.
ANY_TEXT = {"Range", "If-Range", "X-Request-Id", "Last-Event-ID", "last_event_id"}
# What no operation refers to, since a stream's schema is its text.
UNREFERENCED = {"ServerSentEvent"}


def load():
    return yaml.safe_load((processes.ROOT / "openapi/vmpool.yaml").read_text())


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def resolved(document, value):
    while "$ref" in value:
        found = document
        for key in value["$ref"][2:].split("/"):
            found = found[key]
        value = found
    return value


def parameters(document, operation):
    return [resolved(document, parameter) for parameter in operation.get("parameters", [])]


def expect_none(found, what):
    found = list(found)
    expect(not found, lambda: f"{what}: {', '.join(map(str, found))}")


@check("parameters stand with their operations")
def parameters_with_operations():
    # Swagger UI shows those of a path as "any".
    expect_none((path for path, item in load()["paths"].items() if set(item) - set(METHODS)), "paths with more than methods")


@check("objects and alternatives have names")
def names():
    # Generators call them Type0 and Type1 by their order, and two may collide.
    def anonymous(schema, place, named=False):
        if "$ref" in schema:
            return
        kinds = schema.get("type", [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if not named and "properties" in schema:
            yield place
        if "object" in kinds and "null" in kinds:
            yield f"{place} (an object or null)"
        for word in ("anyOf", "oneOf", "allOf"):
            for index, part in enumerate(schema.get(word, [])):
                if "$ref" not in part and (part.get("type") in (None, "object") or "enum" in part):
                    yield f"{place}/{word}/{index}"
                yield from anonymous(part, f"{place}/{word}/{index}")
        for name, part in schema.get("properties", {}).items():
            yield from anonymous(part, f"{place}/{name}")
        for word in ("items", "additionalProperties"):
            if isinstance(schema.get(word), dict):
                yield from anonymous(schema[word], f"{place}/{word}")

    document = load()
    found = [place for name, schema in document["components"]["schemas"].items()
             for place in anonymous(schema, name, named=True)]
    for name, operation in operations(document):
        bodies = [resolved(document, operation["requestBody"])] if "requestBody" in operation else []
        bodies += [resolved(document, response) for response in operation["responses"].values()]
        for body in bodies:
            for kind, media in body.get("content", {}).items():
                found += [f"{name}: {place}" for place in anonymous(media.get("schema", {}), kind)]
    expect_none(found, "without a name")


@check("every operation describes the statuses that follow from what it takes")
def statuses():
    document = load()
    missing = []
    for name, operation in operations(document):
        given = {parameter["name"] for parameter in parameters(document, operation)}
        due = {400, 403, 405, 408, 413, 500}
        due |= {401, 429} if "x-vmpool-scope" in operation else set()
        due |= {409} if "Lease-Fence" in given else set()
        due |= {409, 422} if "Idempotency-Key" in given else set()
        due |= {412} if "If-Match" in given else set()
        changes = {"If-Match"} if not name.startswith("GET") else set()
        due |= {503} if given & {"Idempotency-Key", "timeout_ms"} | given & changes else set()
        due |= {404} if "{" in name else set()
        # What has to wait for vCPUs waits in vain where they do not come out of the kernel.
        waits = "{vm}" in name and not (name.startswith("GET") or name.endswith("/console")) or name.endswith("/registers")
        due |= {503, 504} if waits else set()
        content = resolved(document, operation.get("requestBody", {})).get("content", {})
        # An upload is taken with every type.
        due |= {415} if content and operation["operationId"] not in ("putImage", "putBlob") else set()
        missing += [f"{name} {status}" for status in sorted(due - set(map(int, operation["responses"])))]
        # The answer that is kept for an Idempotency-Key would have the new key in it.
        takes = operation["operationId"] != "createKey"
        if name.startswith("POST") and "201" in operation["responses"] and takes and "Idempotency-Key" not in given:
            missing.append(f"{name} Idempotency-Key")
        if given & {"If-Match", "If-None-Match"} and name.startswith("PUT") and not {"If-Match", "If-None-Match"} <= given:
            missing.append(f"{name}: one of the two conditions")
    expect_none(missing, "not described")


@check("answers describe their headers")
def headers():
    document = load()
    missing = []
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            response = resolved(document, response)
            due = {"X-Request-Id"}
            due |= {"201": {"Location"}, "401": {"WWW-Authenticate"}, "405": {"Allow"}, "429": {"Retry-After"}, "503": {"Retry-After"}}.get(status, set())
            missing += [f"{name} {status} {header}" for header in due - set(response.get("headers", {}))]
    expect_none(missing, "not described")


@check("parameters and headers say what they may be")
def forms():
    document = load()

    def is_bounded(schema):
        schema = resolved(document, schema)
        if "anyOf" in schema:
            return all(map(is_bounded, schema["anyOf"]))
        words = ("pattern", "enum", "const", "maximum", "minimum", "maxLength", "format")
        return any(word in schema for word in words) or schema["type"] == "boolean"

    found = []
    for name, operation in operations(document):
        for parameter in parameters(document, operation):
            if parameter["name"] not in ANY_TEXT and not is_bounded(parameter["schema"]):
                found.append(f"{name} {parameter['name']}: no pattern and no bounds")
            if "description" not in parameter:
                found.append(f"{name} {parameter['name']}: no description")
            if parameter["in"] == "path" and "example" not in parameter:
                found.append(f"{name} {parameter['name']}: no example")
    for name, header in document["components"]["headers"].items():
        if name != "Allow" and not is_bounded(header["schema"]):
            found.append(f"the header {name}: no pattern and no bounds")
    for kind in ("parameters", "headers"):
        for name, value in document["components"][kind].items():
            pattern = resolved(document, value["schema"]).get("pattern")
            example = value.get("example")
            if pattern and example is not None and not re.search(pattern, str(example)):
                found.append(f"{name}: the example {example} is not as the pattern says")
    expect_none(found, "parameters and headers")


@check("answers and bodies have examples")
def examples():
    document = load()
    found = []
    for name, operation in operations(document):
        bodies = [("the body", operation["requestBody"])] if "requestBody" in operation else []
        bodies += list(operation["responses"].items())
        for place, body in bodies:
            for kind, media in resolved(document, body).get("content", {}).items():
                if kind != "application/octet-stream" and not media.get("examples"):
                    found.append(f"{name} {place} {kind}")
    expect_none(found, "without an example")


@check("nothing stands in the document that nothing refers to, and nothing twice")
def references():
    document = load()
    used = set()

    def walk(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                used.add(value["$ref"])
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(document)
    unused = [f"{kind}/{name}" for kind, named in document["components"].items() for name in named
              if f"#/components/{kind}/{name}" not in used and name not in UNREFERENCED
              # By its name.
              and kind != "securitySchemes"]
    expect_none(unused, "not referred to")
    ids = [operation["operationId"] for _, operation in operations(document)]
    equal(len(set(ids)), len(ids), "distinct operation ids")
    tags = {tag["name"] for tag in document["tags"]}
    expect_none((name for name, operation in operations(document) if not set(operation["tags"]) <= tags), "unknown tags")

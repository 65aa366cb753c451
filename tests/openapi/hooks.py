"""What openapi.json cannot say: which parameters exclude or need each other, how else a flag may be written, and that texts contain no tags,
since a pattern has no notation for characters above U+FFFF that all dialects read."""

import re

import schemathesis

# Invisible tags, as `repr` shows them.
TAG = re.compile(r"\\U000e00[0-7]")

# By operation: the parameters that exclude the second ones.
EXCLUSIVE = {
    "deregister_by_name": ({"instance"}, {"external_id"}),
    "availabilities": ({"id"}, {"namespace", "limit", "cursor"}),
}


# A flag may also be written without a value, or as a number.
FLAGS = ("", "0", "1", 0, 1)


def plain(value):
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def is_flag(parameter):
    return parameter["in"] == "query" and parameter["schema"].get("type") == "boolean"


def waits_well(operation, query):
    """A cursor of discovery needs a wait, which a draw excludes; that of a list has two forms."""
    waits, cursor = "wait" in query, str(plain(query.get("cursor", "")))
    if operation == "discover":
        return not (waits and "pick" in query or cursor and not waits)
    return not cursor or len(cursor) == (16 if waits else 48)


@schemathesis.hook
def filter_case(context, case):
    definition = case.operation.definition.raw
    operation = definition.get("operationId")
    query = case.query or {}
    if TAG.search(repr((query, case.body))):
        return False
    flags = {parameter["name"] for parameter in definition.get("parameters", ()) if is_flag(parameter)}
    if any(name in flags and type(plain(value)) is not bool and plain(value) in FLAGS for name, value in query.items()):
        return False
    one, others = EXCLUSIVE.get(operation, (set(), set()))
    if one & query.keys() and others & query.keys():
        return False
    if operation in ("discover", "list") and not waits_well(operation, query):
        return False
    # If-Match is about one instance.
    headers = {name.lower() for name in case.headers or {}}
    named = query.keys() & {"instance", "external_id"}
    return bool(named) or operation != "deregister_by_name" or "if-match" not in headers

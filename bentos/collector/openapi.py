"""The collector's OpenAPI document: what POST /events takes is derived from the event contract."""

from functools import cache
from typing import Any

from bentos.collector.body import FILLED, MAX_EVENTS
from counterfoil.contracts import EVENT, wire

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message", "fields"],
            "properties": {
                "kind": {"type": "string"},
                "message": {"type": "string"},
                "fields": {"type": "array"},
            },
        }
    },
}
OUTCOME = {
    "type": "object",
    "required": ["id", "status"],
    "properties": {
        "id": {"type": ["string", "null"]},
        "status": {"enum": ["accepted", "duplicate", "refused"]},
        "field": {"type": "string"},
        "reason": {"type": "string"},
    },
}
ANSWER = {
    "type": "object",
    "required": ["accepted", "duplicate", "refused", "events"],
    "properties": {
        **{name: {"type": "integer", "minimum": 0} for name in ("accepted", "duplicate", "refused")},
        "events": {"type": "array", "items": OUTCOME},
    },
}
SAYS = {
    "time": "when it happened, RFC 3339 with any offset; kept as UTC",
    "person": "the shop's own name for who did it, as questions have it; it becomes a pseudonym at once",
    "session": "the shop's own name for the visit, as questions have it; it becomes a pseudonym at once",
}  # over HTTP, where names are the shop's own
WRONG = {
    "400": "No JSON object.",
    "401": "The inner token is missing.",
    "408": "The body did not arrive in time.",
    "413": "Too many events, or bytes.",
    "415": "No plain JSON.",
    "422": "Something stands beside the list of events.",
    "429": "Too much waits, for the disk or to be known to answers; send it again after Retry-After seconds.",
    "503": "Nothing was kept; send it again after Retry-After seconds.",
}


@cache
def document() -> dict[str, Any]:
    """Return the document, OpenAPI 3.1."""
    event = wire.schema(EVENT, FILLED)
    event["properties"] = {
        name: {**told, "description": SAYS[name]} if name in SAYS else told
        for name, told in event["properties"].items()
    }
    many = {
        "type": "object",
        "additionalProperties": False,
        "required": ["events"],
        "properties": {"events": {"type": "array", "items": event, "maxItems": MAX_EVENTS}},
    }
    taken = {
        "operationId": "collect",
        "summary": "Take one event, or many: durable once acknowledged, the same id counts once",
        "description": "Each event gets an outcome, in order. One of `person` and `session` must be there. What breaks the"
        " contract is refused with a field and a reason, and stops no other.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"anyOf": [event, many]}}},
        },
        "responses": {"200": _reply("What became of each event.", ANSWER)}
        | {status: _reply(says, ERROR) for status, says in WRONG.items()},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Counterfoil events", "version": "1"},
        "paths": {
            "/events": {"post": taken},
            "/livez": {
                "get": {"operationId": "live", "responses": {"200": _reply("It lives.", {"type": "object"})}}
            },
            "/readyz": {
                "get": {
                    "operationId": "ready",
                    "responses": {"200": _reply("It takes events.", {"type": "object"})},
                }
            },
        },
    }


def _reply(says: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": says, "content": {"application/json": {"schema": schema}}}

"""`GET /openapi.json`: what the public routes take and give, from the very models that check it (OpenAPI 3.1)."""

from functools import cache
from typing import Any

import orjson

from bentos.gateway.admission import PLACES, Place
from bentos.guard import MAX_BYTES
from bentos.recommend.request import RecommendRequest

QUESTIONS: dict[str, Any] = {
    "/recommend": RecommendRequest,
    "/next": RecommendRequest,
    "/similar": RecommendRequest,
    "/cart": RecommendRequest,
}
SAYS = {
    "/recommend": "Items for a person, or for nobody in particular",
    "/next": "What comes next in a session of somebody who is not known",
    "/similar": "Items like one item",
    "/cart": "Items that go with those in a cart",
    "/events": "What people did: one event, or many; acknowledged row by row once they are durable",
    "/livez": "Whether the process lives",
    "/readyz": "Whether it can answer: the routes are known, and the champion is ready",
    "/openapi.json": "This description",
}
ERRORS = {
    "400": "malformed, or nested too deep",
    "401": "no key that is known",
    "403": "a key of another scope",
    "404": "nothing is known by that name",
    "408": "it came too slowly",
    "413": f"more than {MAX_BYTES} bytes",
    "415": "not plain JSON",
    "422": "it does not fit: `error.fields` names what, and why",
    "429": "the key asks too often; `Retry-After` says when to ask again",
    "431": "too many headers",
    "503": "no room, nobody to answer, or no receipt could be kept; ask again after `Retry-After` seconds",
}
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message", "fields"],
            "properties": {
                "kind": TEXT,
                "message": TEXT,
                "fields": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "reason"],
                        "properties": {"field": TEXT, "reason": TEXT},
                    },
                },
            },
        }
    },
}
ITEM = {
    "type": "object",
    "required": ["item", "score", "sources", "reasons"],
    "properties": {
        "item": TEXT,
        "title": {"type": ["string", "null"]},
        "score": {"type": "number"},
        "sources": TEXTS,
        "reasons": TEXTS,
    },
}
ANSWER = {
    "type": "object",
    "required": ["items", "receipt", "release", "bento", "epoch", "rules", "degraded"],
    "properties": {
        "items": {"type": "array", "items": ITEM},
        "receipt": TEXT,
        "release": TEXT,
        "bento": TEXT,
        "epoch": {"type": "integer"},
        "rules": TEXTS,
        "degraded": TEXTS,
    },
}


@cache
def document() -> bytes:
    """Return the document's bytes."""
    components: dict[str, Any] = {"Answer": ANSWER, "Error": ERROR}
    paths = {
        place.path: {place.method.lower(): _operation(place, components)}
        for place in PLACES.values()
        if place.scope != "admin"
    }
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "Counterfoil", "version": "1", "description": "Answers that keep their stubs."},
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                },
            },
        }
    )


def _operation(place: Place, components: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"summary": SAYS[place.path], "operationId": place.path.strip("/").split(".")[0]}
    if place.scope is None:
        return {**told, "responses": _responses({"type": "object"}, ("400", "431", "503"))}
    told["security"] = [{}, {"bearer": []}, {"key": []}]  # {}: while no key was made, on loopback
    model = QUESTIONS.get(place.path)
    told["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": _events() if model is None else _schema(model, components)}
        },
    }
    answer = {"type": "object"} if model is None else _reference("Answer")
    return {**told, "responses": _responses(answer, tuple(ERRORS))}


def _responses(answer: dict[str, Any], errors: tuple[str, ...]) -> dict[str, Any]:
    wrong = {"application/json": {"schema": _reference("Error")}}
    return {
        "200": {"description": "as asked", "content": {"application/json": {"schema": answer}}},
        **{status: {"description": ERRORS[status], "content": wrong} for status in errors},
    }


def _schema(model: Any, components: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to the model's schema, and put it and those that it names among the components."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(schema.pop("$defs", {}))
    components[model.__name__] = schema
    return _reference(model.__name__)


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _events() -> dict[str, Any]:
    """Return what the collector takes; which fields an event has is the event contract's to say, row by row."""
    many = {
        "type": "object",
        "required": ["events"],
        "properties": {"events": {"type": "array", "items": {"type": "object"}}},
    }
    return {"anyOf": [many, {"type": "object"}]}

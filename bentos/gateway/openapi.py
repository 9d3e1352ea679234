"""`GET /openapi.json`: what the public routes take and give, from the very models that check it (OpenAPI 3.1)."""

from functools import cache
from typing import Any

import orjson

from bentos.collector import openapi as collector
from bentos.gateway.admission import PLACES, Place
from bentos.guard import MAX_BYTES
from bentos.openapi import REF, AnswerBody, content_of, faults, schemas
from bentos.recommend.request import BODIES

QUESTIONS = {f"/{route}": body for route, body in BODIES.items()}
SAYS = {
    "/recommend": "Items for a person, or for nobody in particular",
    "/next": "What comes next in a session of somebody who is not known",
    "/similar": "Items like one item",
    "/cart": "Items that go with those in a cart",
    "/livez": "Whether the process lives",
    "/readyz": "Whether it can answer: the routes are known, and the champion is ready",
    "/openapi.json": "This description",
}
ERRORS = {
    "400": "malformed, or nested too deep",
    "401": "no key that is known",
    "403": "a key of another scope",
    "404": "the catalogue does not have that item",
    "405": "another method is for this route",
    "408": "it came too slowly",
    "413": f"more than {MAX_BYTES} bytes, or events",
    "414": "a path that is too long",
    "415": "not plain JSON",
    "422": "it does not fit: `error.fields` names what, and why",
    "429": "the key asks too often, or too many events wait; `Retry-After` says when to ask again",
    "431": "too many headers",
    "503": "no room, nobody to answer, or nothing could be kept; ask again after `Retry-After` seconds",
}
OPEN = ("400", "408", "413", "431", "503")  # errors of routes that take neither key nor body


@cache
def document() -> bytes:
    """Return the document's bytes."""
    shown = [place for place in PLACES.values() if place.scope != "admin"]
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Counterfoil",
                "version": "1",
                "description": "Answers that keep their stubs, and what people did with them.",
            },
            "paths": {place.path: {place.method.lower(): _operation(place)} for place in shown},
            "components": {
                "schemas": schemas(QUESTIONS.values()),
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                },
            },
        }
    )


def _operation(place: Place) -> dict[str, Any]:
    if place.scope is None:
        return _named(place, _responses({"type": "object"}, OPEN))
    security: dict[str, Any] = {
        "security": [{}, {"bearer": []}, {"key": []}]
    }  # {}: while no key was ever made, on loopback
    if place.scope == "events":
        taken = collector.document()["paths"]["/events"]["post"]
        return {
            **taken,
            **security,
            "responses": {**faults(ERRORS, ERRORS), "200": taken["responses"]["200"]},
        }
    body = {"required": True, "content": content_of(QUESTIONS[place.path])}
    answer = {"$ref": REF.format(model=AnswerBody.__name__)}
    return {**_named(place, _responses(answer, tuple(ERRORS))), **security, "requestBody": body}


def _named(place: Place, responses: dict[str, Any]) -> dict[str, Any]:
    name = place.path.strip("/").partition(".")[0]
    return {"summary": SAYS[place.path], "operationId": name, "responses": responses}


def _responses(answer: dict[str, Any], errors: tuple[str, ...]) -> dict[str, Any]:
    content = {"application/json": {"schema": answer}}
    return {"200": {"description": "as asked", "content": content}, **faults(errors, ERRORS)}

"""The service's contract as OpenAPI 3.1, made of the very models that check the requests."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from bentos.inner import ARM, DEADLINE, DEGRADED, ITEMS, PROPENSITY, RECEIPT, RELEASE, REQUEST, TOKEN

VERSION = "1"
REF = "#/components/schemas/{model}"
REFUSALS = {
    "400": "the body nests too deep, or did not arrive whole",
    "401": "the token of this installation is missing or wrong",
    "408": "the body came too slowly",
    "413": "the body is too large",
    "415": "the body is not plain JSON",
    "422": "the body does not fit its schema; `fields` says where",
    "500": "the service failed on this request",
    "503": "too many wait, or no receipt can be written",
    "504": "the caller's time was over before it was this request's turn",
}
TEXT = {"schema": {"type": "string"}}


class Said(BaseModel):
    """What is answered; nothing else is."""

    model_config = ConfigDict(extra="forbid")


class AnswerItem(Said):
    """One item of an answer. Scores compare within one answer and one source."""

    item: str
    title: str
    score: float
    sources: list[str]
    reasons: list[str]


class AnswerBody(Said):
    """An answer: its items, best first, and what names it."""

    items: list[AnswerItem]
    receipt: str
    release: str
    bento: str
    epoch: int
    rules: list[str]
    degraded: list[str]


class FaultyField(Said):
    """A field that is wrong, and why."""

    field: str
    reason: str


class Fault(Said):
    """What went wrong: a kind for machines, a sentence for people."""

    kind: str
    message: str
    fields: list[FaultyField]


class FaultBody(Said):
    """The one shape that errors have."""

    error: Fault


def document(bodies: Mapping[str, tuple[type[BaseModel], str]]) -> dict[str, Any]:
    """Return the document for routes by path, each with the model of its body and a sentence."""
    models = [model for model, _ in bodies.values()]
    inputs = [(model, "validation") for model in models]
    outputs = [(model, "serialization") for model in (AnswerBody, FaultBody)]
    _, schemas = models_json_schema([*inputs, *outputs], ref_template=REF)  # type: ignore[list-item]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Counterfoil: answers", "version": VERSION},
        "paths": {
            **{path: {"post": _asking(model, says)} for path, (model, says) in bodies.items()},
            "/livez": {"get": _telling("whether the process lives", None)},
            "/readyz": {"get": _telling("whether it can answer, and what by", {"type": "object"})},
            "/about": {"get": _telling("what answers", {"type": "object"}, locked=True)},
            "/openapi.json": {"get": _telling("this document", {"type": "object"}, locked=True)},
            "/metrics": {
                "get": {
                    "summary": "counts in Prometheus' text format",
                    "security": [{"token": []}],
                    "responses": {
                        "200": {"description": "counts", "content": {"text/plain": TEXT}},
                        **_refused("400", "401", "408", "413", "415", "503"),
                    },
                }
            },
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": TOKEN}},
        },
    }


def _asking(model: type[BaseModel], says: str) -> dict[str, Any]:
    wanted = (ARM, PROPENSITY, REQUEST, DEADLINE)
    told = (RECEIPT, RELEASE, ITEMS, DEGRADED)
    errors = dict(REFUSALS)
    if "item" in model.model_fields:
        errors["404"] = "the catalogue does not have that item"
    return {
        "summary": says,
        "security": [{"token": []}],
        "parameters": [{"name": name, "in": "header", "required": False, **TEXT} for name in wanted],
        "requestBody": {"required": True, "content": _json(model.__name__)},
        "responses": {
            "200": {
                "description": "an answer, recorded",
                "headers": dict.fromkeys(told, TEXT),
                "content": _json(AnswerBody.__name__),
            },
            **_refused(*errors, says=errors),
        },
    }


def _telling(says: str, schema: dict[str, Any] | None, *, locked: bool = False) -> dict[str, Any]:
    content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
    return {
        "summary": says,
        **({"security": [{"token": []}]} if locked else {}),
        "responses": {
            "200": {"description": says, **content},
            **_refused("400", *(["401"] if locked else []), "408", "413", "415", "503"),
        },
    }


def _refused(*statuses: str, says: Mapping[str, str] = REFUSALS) -> dict[str, Any]:
    return {
        status: {"description": says[status], "content": _json(FaultBody.__name__)} for status in statuses
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=name)}}}

"""The service's contract as OpenAPI 3.1, made of the very models that check the requests."""

from collections.abc import Iterable, Mapping
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
    "422": "the body does not fit its schema, or the caller left no time; `fields` says where",
    "500": "the service failed on this request",
    "503": "too many wait, or no receipt can be written",
    "504": "the caller's time was over before it was this request's turn",
}
TEXT = {"schema": {"type": "string"}}


class Said(BaseModel):
    """What is answered; nothing else is."""

    model_config = ConfigDict(extra="forbid")


class AnswerItem(Said):
    """One item of an answer. Scores compare within one answer and one source; `until` is there where the item has an end."""

    item: str
    title: str
    score: float
    sources: list[str]
    reasons: list[str]
    until: str | None = None


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


def schemas(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Return the schemas by name: of these models of bodies, of an answer and of a fault."""
    inputs = [(model, "validation") for model in models]
    outputs = [(model, "serialization") for model in (AnswerBody, FaultBody)]
    _, found = models_json_schema([*inputs, *outputs], ref_template=REF)  # type: ignore[list-item]
    named: dict[str, Any] = found["$defs"]
    return named


def content_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the content of a body or a reply that is JSON of this model."""
    return {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}


def faults(statuses: Iterable[str], says: Mapping[str, str]) -> dict[str, Any]:
    """Return the replies of these statuses, each an error in its one shape."""
    return {status: {"description": says[status], "content": content_of(FaultBody)} for status in statuses}


def document(bodies: Mapping[str, tuple[type[BaseModel], str]]) -> dict[str, Any]:
    """Return the document for routes by path, each with the model of its body and a sentence."""
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
                        **faults(("400", "401", "408", "413", "415", "503"), REFUSALS),
                    },
                }
            },
        },
        "components": {
            "schemas": schemas(model for model, _ in bodies.values()),
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
        "requestBody": {"required": True, "content": content_of(model)},
        "responses": {
            "200": {
                "description": "an answer, recorded",
                "headers": dict.fromkeys(told, TEXT),
                "content": content_of(AnswerBody),
            },
            **faults(errors, errors),
        },
    }


def _telling(says: str, schema: dict[str, Any] | None, *, locked: bool = False) -> dict[str, Any]:
    content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
    return {
        "summary": says,
        **({"security": [{"token": []}]} if locked else {}),
        "responses": {
            "200": {"description": says, **content},
            **faults(("400", *(["401"] if locked else []), "408", "413", "415", "503"), REFUSALS),
        },
    }

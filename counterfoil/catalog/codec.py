"""Nouns to JSON and back. The body that is stored is canonical JSON, so that its digest can be recomputed."""

import dataclasses
import types
import typing
from datetime import datetime
from functools import cache
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.errors import IntegrityError
from counterfoil.types import Bento, Candidate, Dataset, Decision, Evaluation, Noun, Release, Verdict

NOUNS: dict[str, type[Noun]] = {
    noun.kind: noun for noun in (Verdict, Dataset, Candidate, Evaluation, Decision, Bento, Release)
}


def decode(kind: str, body: str | bytes) -> Noun:
    """Return the noun of that kind from its JSON. IntegrityError when the body does not fit the kind."""
    if kind not in NOUNS:
        raise IntegrityError(
            f"the catalog names a kind {kind!r} that this version does not know; upgrade Counterfoil"
        )
    try:
        noun: Noun = build(NOUNS[kind], orjson.loads(body))
    except (ValueError, TypeError, AttributeError, KeyError) as fault:
        raise IntegrityError(
            f"the record of a {kind} cannot be read ({fault}); run `counterfoil verify` to see which was altered"
        ) from fault
    return noun


def build(cls: Any, body: Any) -> Any:
    """Return a value of `cls` (a dataclass or one of its fields' types) from plain JSON."""
    if dataclasses.is_dataclass(cls) and isinstance(cls, type):
        hints = _hints(cls)
        unknown = body.keys() - hints.keys()
        if unknown:
            raise IntegrityError(
                f"a {cls.__name__} has no field {', '.join(sorted(unknown))}; the record was altered"
            )
        return cls(**{name: build(hints[name], value) for name, value in body.items()})
    if cls is datetime:
        return canonical.utc_time(body)
    origin, arguments = typing.get_origin(cls), typing.get_args(cls)
    if origin is types.UnionType or origin is typing.Union:
        inner = [argument for argument in arguments if argument is not type(None)]
        return None if body is None else build(inner[0], body)
    if origin is tuple:
        return tuple(build(arguments[0], item) for item in body)
    return body


@cache
def _hints(cls: type) -> dict[str, Any]:
    fields = {field.name for field in dataclasses.fields(cls)}
    return {name: hint for name, hint in typing.get_type_hints(cls).items() if name in fields}

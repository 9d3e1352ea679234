"""Nouns to JSON and back. The body that is stored is canonical JSON, so that its digest can be recomputed."""

import dataclasses
import types
import typing
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.errors import IntegrityError
from counterfoil.types import (
    Approval,
    Attempt,
    Bento,
    Candidate,
    Dataset,
    Decision,
    Erasure,
    Evaluation,
    Noun,
    OnlineRows,
    Quarantine,
    Release,
    Setting,
    Verdict,
)

NOUNS: dict[str, type[Noun]] = {
    noun.kind: noun
    for noun in (
        Verdict,
        Dataset,
        Attempt,
        Candidate,
        Evaluation,
        Decision,
        Approval,
        Bento,
        OnlineRows,
        Release,
        Quarantine,
        Erasure,
        Setting,
    )
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
    convert = _converter(cls)
    return body if convert is None else convert(body)


@cache
def _converter(cls: Any) -> Callable[[Any], Any] | None:
    """Return what makes a value of `cls` from JSON; None when JSON's own value will do.

    Worked out once per type: a year's verdicts have forty thousand checks.
    """
    if dataclasses.is_dataclass(cls) and isinstance(cls, type):
        return _dataclass_converter(cls)
    if cls is datetime:
        return canonical.utc_time
    origin, arguments = typing.get_origin(cls), typing.get_args(cls)
    if origin is types.UnionType or origin is typing.Union:
        inner = _converter(next(argument for argument in arguments if argument is not type(None)))
        return None if inner is None else lambda body: None if body is None else inner(body)
    if origin is tuple:
        item = _converter(arguments[0])
        return tuple if item is None else lambda body: tuple(map(item, body))
    return None


def _dataclass_converter(cls: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    converters = {name: _converter(hints[name]) for name in names}
    changed = {name: convert for name, convert in converters.items() if convert is not None}

    def convert(body: dict[str, Any]) -> Any:
        unknown = body.keys() - names
        if unknown:
            raise IntegrityError(
                f"a {cls.__name__} has no field {', '.join(sorted(unknown))}; the record was altered"
            )
        return cls(**body | {name: make(body[name]) for name, make in changed.items() if name in body})

    return convert

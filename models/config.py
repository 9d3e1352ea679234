"""Typed configs of families: bounds beside the fields, and how plain values (JSON, params.yaml) become one.

All faults are named at once. Which families there are is the registry's business (models/families/__init__.py).
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from counterfoil.errors import ConfigError


def bounds(default: Any, low: float, high: float = math.inf) -> Any:
    """Return a dataclass field whose value must lie in [low, high]."""
    return dataclasses.field(default=default, metadata={"bounds": (low, high)})


class Checked:
    """A config that refuses values out of bounds or of the wrong type when it is made."""

    def __post_init__(self) -> None:
        """Raise ConfigError that names every fault."""
        hints = typing.get_type_hints(type(self))
        faults: list[str] = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            told = _type_fault(field.name, value, hints[field.name])
            low, high = field.metadata.get("bounds", (-math.inf, math.inf))
            if told:
                faults.append(told)
            elif "bounds" in field.metadata and not low <= value <= high:
                faults.append(f"{field.name} is {value!r}, must be {_range(low, high)}")
        if faults:
            raise ConfigError("; ".join(faults))


def build(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """Make a config dataclass from plain values; lists become tuples, objects nested configs.

    ConfigError names every fault at once: unknown keys, wrong types, values out of bounds.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    faults = [
        f"{where} has no setting {key!r}; there are {', '.join(fields) or 'none'}"
        for key in values
        if key not in fields
    ]
    good: dict[str, Any] = {}
    for key in fields.keys() & values.keys():
        try:
            good[key] = _convert(values[key], hints[key], f"{where}.{key}")
        except ConfigError as error:
            faults.append(str(error))
    made = None
    try:
        made = kind(**good)
    except (ConfigError, TypeError) as error:
        faults.append(f"{where}: {error}")
    if faults:
        raise ConfigError("; ".join(sorted(faults)))
    return made


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as `hint` wants it, or raise ConfigError."""
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        return tuple(_convert(item, inner, where) for item in value)
    told = _type_fault(where, value, hint)
    if told:
        raise ConfigError(told)
    return float(value) if hint is float else value


def _type_fault(where: str, value: Any, hint: Any) -> str | None:
    """Say what is wrong with the type of `value`, or None."""
    if _fits(value, hint):
        return None
    return f"{where} is {value!r}, must be {_words(hint)}"


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint if isinstance(hint, type) else object)


def _words(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    names = {float: "a finite number", int: "a whole number", str: "text", bool: "true or false"}
    return names.get(hint, str(getattr(hint, "__name__", hint)))


def _range(low: float, high: float) -> str:
    return f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"

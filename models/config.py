"""Typed configs of families: bounds and what is searched beside the fields, and how plain values (JSON) become a config.

All faults are named at once. Which families there are is the registry's business (models/families/__init__.py), and how a
space is searched that of models/tune.py.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from counterfoil.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Span:
    """Search the numbers from `low` to `high`, evenly or evenly in their logarithm; whole ones where the field is `int`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


class Options(tuple[Any, ...]):
    """Search among these values; without any, among those of the field's Literal, or true and false."""

    __slots__ = ()

    def __new__(cls, *values: Any) -> "Options":
        """Take the values one by one."""
        return super().__new__(cls, values)


Search = Span | Options


def bounds(
    default: Any, low: float, high: float = math.inf, *, search: Search | None = None, work: bool = False
) -> Any:
    """Return a dataclass field whose value must lie in [low, high].

    `search` says what tuning may choose from; `work` that the time of a fit grows with the value (steps, iterations, trees),
    so that a trial may begin with less of it.
    """
    known = {"bounds": (low, high), "search": search, "work": work}
    return dataclasses.field(default=default, metadata=known)


def searched(default: Any, *options: Any) -> Any:
    """Return a dataclass field without bounds that tuning may choose, among `options` or all that its type allows."""
    return dataclasses.field(default=default, metadata={"search": Options(*options)})


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
            elif "bounds" in field.metadata and value is not None and not low <= value <= high:
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


def space(config: Any) -> dict[str, Search]:
    """Return what may be searched from a config on, by field; of the configs within it, as `field.field`."""
    hints = typing.get_type_hints(type(config))
    found: dict[str, Search] = {}
    for field in dataclasses.fields(config):
        value, search = getattr(config, field.name), field.metadata.get("search")
        if isinstance(search, Span):
            hint = hints[field.name]
            found[field.name] = dataclasses.replace(search, whole=int in (hint, *typing.get_args(hint)))
        elif isinstance(search, Options):
            found[field.name] = search or _all_of(hints[field.name])
        elif dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": inner for name, inner in space(value).items()}
    return found


def work_of(config: Any) -> tuple[str, ...]:
    """Return the fields that the time of a fit grows with, named as by `space`."""
    found: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.metadata.get("work"):
            found.append(field.name)
        elif dataclasses.is_dataclass(value):
            found += [f"{field.name}.{name}" for name in work_of(value)]
    return tuple(found)


def value_at(config: Any, name: str) -> Any:
    """Return the value of a field, named as by `space`."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def changed(config: Any, values: Mapping[str, Any]) -> Any:
    """Return the config with these values, named as by `space`. ConfigError when they do not go together."""
    own = {name: value for name, value in values.items() if "." not in name}
    within: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        outer, dot, inner = name.partition(".")
        if dot:
            within.setdefault(outer, {})[inner] = value
    own |= {outer: changed(getattr(config, outer), inner) for outer, inner in within.items()}
    return dataclasses.replace(config, **own)


def differing(config: Any) -> dict[str, Any]:
    """Return the values that are not the defaults, named as by `space`."""
    found: dict[str, Any] = {}
    usual = type(config)()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == getattr(usual, field.name):
            continue
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": inner for name, inner in differing(value).items()}
        else:
            found[field.name] = value
    return found


def code_of(config: Any) -> str:
    """Return the Python expression that makes this config, its defaults left out."""
    usual = type(config)()
    told = [
        f"{field.name}={code_of(value) if dataclasses.is_dataclass(value) else repr(value)}"
        for field in dataclasses.fields(config)
        if (value := getattr(config, field.name)) != getattr(usual, field.name)
    ]
    return f"{type(config).__name__}({', '.join(told)})"


def _all_of(hint: Any) -> Options:
    if hint is bool:
        return Options(False, True)
    return Options(*typing.get_args(hint))


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as `hint` wants it, or raise ConfigError."""
    kinds = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
    if kinds and isinstance(value, Mapping):
        return build(_kind_of(kinds, value, where), value, where)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        return tuple(_convert(item, inner, where) for item in value)
    told = _type_fault(where, value, hint)
    if told:
        raise ConfigError(told)
    return float(value) if hint is float else value


def _kind_of(kinds: Sequence[Any], value: Mapping[str, Any], where: str) -> type:
    """Return which of several nested configs the values are of, told by their `kind`; the first one where they do not say."""
    named = {getattr(kind, "kind", None): kind for kind in kinds}
    if len(kinds) > 1 and value.get("kind", kinds[0].kind) not in list(named):
        raise ConfigError(f"{where}.kind is {value['kind']!r}, must be one of {', '.join(map(repr, named))}")
    return typing.cast(type, named[value["kind"]] if len(kinds) > 1 and "kind" in value else kinds[0])


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

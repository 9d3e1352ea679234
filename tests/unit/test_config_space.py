"""What may be searched of a config lies beside its fields: read as a space, changed by name, told as code."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from counterfoil.errors import ConfigError
from models.config import (
    Checked,
    Options,
    Span,
    bounds,
    changed,
    code_of,
    differing,
    searched,
    space,
    value_at,
    work_of,
)
from models.families import FAMILIES


@dataclass(frozen=True, kw_only=True)
class Inner(Checked):
    depth: int = bounds(5, 1, 12, search=Span(2, 8))
    trees: int = bounds(100, 1, 1000, work=True)


@dataclass(frozen=True, kw_only=True)
class Other(Checked):
    width: int = bounds(8, 1, 64, search=Span(4, 32, log=True))


@dataclass(frozen=True, kw_only=True)
class Outer(Checked):
    family: ClassVar[str] = "toy"
    rate: float = bounds(0.1, 0.0, 1.0, search=Span(0.01, 1, log=True))
    kind: Literal["x", "y"] = searched("x")
    deep: bool = searched(False)
    members: tuple[str, ...] = searched(("a",), ("a",), ("a", "b"))
    size: int = bounds(64, 2, 1024, search=Options(32, 64))
    name: str = "left alone"
    inner: Inner | Other = dataclasses.field(default_factory=Inner)


def test_a_space_is_what_the_fields_say_and_what_lies_within() -> None:
    assert space(Outer()) == {
        "rate": Span(0.01, 1, log=True),
        "kind": ("x", "y"),
        "deep": (False, True),
        "members": (("a",), ("a", "b")),
        "size": (32, 64),
        "inner.depth": Span(2, 8, whole=True),
    }
    assert work_of(Outer()) == ("inner.trees",)


def test_of_a_choice_of_configs_the_one_that_is_there_is_searched() -> None:
    assert space(Outer(inner=Other()))["inner.width"] == Span(4, 32, log=True, whole=True)
    assert "inner.depth" not in space(Outer(inner=Other())) and work_of(Outer(inner=Other())) == ()


def test_values_are_changed_by_name_and_checked() -> None:
    made = changed(Outer(), {"rate": 0.5, "inner.depth": 3, "inner.trees": 7})
    assert made == Outer(rate=0.5, inner=Inner(depth=3, trees=7))
    assert value_at(made, "inner.trees") == 7 and value_at(made, "rate") == 0.5
    assert differing(made) == {"rate": 0.5, "inner.depth": 3, "inner.trees": 7}
    with pytest.raises(ConfigError, match="depth is 99"):
        changed(Outer(), {"inner.depth": 99})


def test_the_code_of_a_config_makes_it_again() -> None:
    made = Outer(rate=0.25, members=("a", "b"), inner=Inner(depth=3))
    told = code_of(made)
    assert told == "Outer(rate=0.25, members=('a', 'b'), inner=Inner(depth=3))"
    assert eval(told, {"Outer": Outer, "Inner": Inner}) == made
    assert code_of(Outer()) == "Outer()"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_space_is_allowed_and_holds_the_default(family: str) -> None:
    """Trial 0 is the default, and no proposal may be refused by a bound alone."""
    config: Any = FAMILIES[family].config
    for name, search in space(config()).items():
        default = value_at(config(), name)
        ends = search if isinstance(search, Options) else (search.low, search.high)
        for value in ends:
            whole = isinstance(search, Span) and search.whole
            assert value_at(changed(config(), {name: int(value) if whole else value}), name) == value
        if isinstance(search, Options):
            assert len(set(search)) == len(search) > 1, name
            assert default is None or default in search, name
        else:
            assert search.low < search.high, name
            assert default is None or search.low <= default <= search.high, name
            assert search.low > 0 or not search.log, name

"""The use cases: each a value in a module of its own, 20 to 40 lines. Adding one is a file and a line here."""

from counterfoil.errors import UnknownError
from counterfoil.types import UseCase


def use_case(name: str) -> UseCase:
    """Return the use case of that name. UnknownError when there is none."""
    cases = _cases()
    if name not in cases:
        raise UnknownError(f"no use case is called {name!r}; there are {', '.join(cases)}")
    return cases[name]


def names() -> tuple[str, ...]:
    """Return the names of all use cases."""
    return tuple(_cases())


def _cases() -> dict[str, UseCase]:
    from flows.use_cases.recommendation import RECOMMENDATION

    return {case.name: case for case in (RECOMMENDATION,)}

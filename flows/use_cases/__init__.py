"""The use cases: each a value in a module of its own, 20 to 40 lines. Adding one is a file and a line here."""

from counterfoil.errors import UnknownError
from counterfoil.types import UseCase


def use_case(name: str) -> UseCase:
    """Return the use case of that name. UnknownError when there is none."""
    from flows.use_cases.recommendation import RECOMMENDATION

    cases = {case.name: case for case in (RECOMMENDATION,)}
    if name not in cases:
        raise UnknownError(f"no use case is called {name!r}; there are {', '.join(cases)}")
    return cases[name]

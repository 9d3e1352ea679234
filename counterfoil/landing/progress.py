"""How landing tells how far it is: a callable that gets the name of a step and how many rows it has done."""

from collections.abc import Callable

Progress = Callable[[str, int], None]


def silent(stage: str, rows: int) -> None:
    """Tell nobody."""

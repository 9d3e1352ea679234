"""Quoting for the SQL that importers and landing write."""

from collections.abc import Iterable
from pathlib import Path


def literal(value: str | Path) -> str:
    """Return `value` as a quoted SQL text."""
    return "'" + str(value).replace("'", "''") + "'"


def column(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def files(paths: Iterable[Path]) -> str:
    """Return a SQL list of file names."""
    return "[" + ", ".join(literal(path) for path in paths) + "]"


def parquet(paths: Iterable[Path]) -> str:
    """Return a relation over Parquet files that agree in their columns."""
    return f"read_parquet({files(paths)})"


def event_id(stem: str, *columns: str) -> str:
    """Return the id of an event that its source gives none, as SQL: the stem, and 24 hex digits over what tells it from others.

    A digest, since people are among these columns: an id goes where their names may not.
    """
    return f"{literal(stem + ':')} || left(sha256(concat_ws(':', {', '.join(columns)})), 24)"

"""What an importer hands to landing: queries over input files, and the digest that names this very input.

Reading a particular shop's files lives in the sibling modules; checking and writing lives in `counterfoil.landing`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from counterfoil.errors import ContractError
from counterfoil.importers.text import Delimited


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Events, items and people as DuckDB queries whose columns bear the contract's names, in any type.

    Absent columns count as empty. A query may add: `row`, the number of the input's row where the query does not keep its
    order; `given_<column>`, what the input said where <column> was computed from it (empty there and filled here: wrong
    type); `refused`, the importer's own reason against a row. Where an id comes twice, the first row wins.
    `digest` is the SHA-256 over the input bytes, the importer's version and the mapping, so that an import is known again.
    `key` is the fingerprint of the pseudonym key where people are pseudonyms already; None: they have their names.
    `delimited` holds, by table, the text files of which every line must be accounted for.
    """

    kind: str
    name: str
    digest: str
    events: str | None = None
    items: str | None = None
    people: str | None = None
    key: str | None = None
    delimited: tuple[tuple[str, Delimited], ...] = ()


def digest(kind: str, version: int, files: Iterable[Path], *extra: str) -> str:
    """Return the SHA-256 of an importer's name and version, the bytes of its input files in order, and `extra`."""
    whole = hashlib.sha256(f"{kind}\0{version}".encode())
    for file in files:
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    for text in extra:
        whole.update(hashlib.sha256(text.encode()).digest())
    return whole.hexdigest()


def existing(path: Path | None, kind: str) -> Path:
    """Return the path when something is there; ContractError when none was given or nothing is there."""
    if path is None:
        raise ContractError(f"{kind} needs a file or folder; name one after the kind")
    if not path.exists():
        raise ContractError(f"there is no {path}; give the path of a file or folder that exists")
    return path

"""Everything provable, proven: digests of nouns, versions, bentos and landed files recomputed, what was altered named.

What it cannot see: a record that was altered together with its own digest. The ledger will.
"""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.catalog import codec
from counterfoil.catalog.catalog import row_of
from counterfoil.errors import CounterfoilError
from counterfoil.types import Bento
from flows.place import Place
from flows.verbs import bento_folder

NAMED = re.compile(rf'"((?:{"|".join(codec.NOUNS)})-[0-9a-f]{{16}})"')
Found = Iterator[list[str]]


def verify(place: Place, progress: Callable[[str, int], None] = lambda what, count: None) -> dict[str, Any]:
    """Return how many of each kind were checked, and one sentence per fault; no fault means that nothing was altered."""
    checked: dict[str, int] = {}
    faults: list[str] = []
    for kind, check in (
        ("nouns", _nouns),
        ("releases", _releases),
        ("versions", _versions),
        ("bentos", _bentos),
        ("landed files", _landed),
    ):
        count = 0
        for found in check(place):
            count += 1
            faults.extend(found)
            progress(kind, count)
        checked[kind] = count
    return {"verified": not faults, "checked": checked, "faults": faults}


def _nouns(place: Place) -> Found:
    """Recompute id and digest of every noun, and see that what it names is there."""
    rows = {row["id"]: row for row in place.catalog.rows()}
    for name, row in rows.items():
        if not _sound(row):
            yield [f"{name} in the catalog is not what was recorded"]
            continue
        named = sorted(set(NAMED.findall(row["body"])) - rows.keys())
        yield [f"{name} was made from {missing}, which is not in the catalog any more" for missing in named]


def _sound(row: dict[str, Any]) -> bool:
    """Say whether a row is what its noun says; fields that a later version added may be missing in the body."""
    try:
        body = orjson.loads(row["body"])
        ours = row_of(codec.decode(row["kind"], row["body"]))
    except (CounterfoilError, ValueError, TypeError, KeyError, AttributeError):
        return False
    same = all(row[name] == ours[name] for name in ("id", "kind", "use_case", "address"))
    return same and canonical.sha256(body) == row["body_sha256"]


def _releases(place: Place) -> Found:
    """Hold each release's row against its noun, and the champions' times of service against each other."""
    rows = sorted(place.catalog.releases(), key=lambda row: (row["use_case"], row["epoch"]))
    for row in rows:
        try:
            noun = place.catalog.get(row["id"])
            fields = ("use_case", "epoch", "share", "valid_from")
            yield (
                []
                if all(getattr(noun, name) == row[name] for name in fields)
                else [f"the release table says otherwise of {row['id']} than its record"]
            )
        except (CounterfoilError, ValueError, TypeError, AttributeError):
            yield [f"the release table names {row['id']}, which cannot be read from the catalog"]
    for before, after in pairwise(row for row in rows if row["stage"] == "champion"):
        if before["use_case"] == after["use_case"] and before["valid_to"] != after["valid_from"]:
            yield [
                f"{before['id']} served until {before['valid_to']}, but {after['id']} began {after['valid_from']}"
            ]


def _versions(place: Place) -> Found:
    for address in place.catalog.addresses():
        try:
            stored = place.catalog.stored(address)
            wrong = canonical.sha256(stored.manifest) != stored.sha256
            altered = place.store.check(address, stored.manifest)
        except (ValueError, TypeError, AttributeError):
            wrong, altered = True, []
        yield [*([f"the manifest of {address} in the catalog was altered"] if wrong else []), *altered]


def _bentos(place: Place) -> Found:
    from bentos.bundle import open_bundle

    for bento in _readable_bentos(place):
        try:
            found = open_bundle(bento_folder(place, bento.tag)).sha256
            yield [] if found == bento.sha256 else [f"bento {bento.tag} is not what was released"]
        except (CounterfoilError, OSError, ValueError, KeyError, TypeError) as fault:
            yield [f"bento {bento.tag}: {fault}"]


def _readable_bentos(place: Place) -> Iterator[Bento]:
    """Yield the bentos whose record can be read; of the others `_nouns` has spoken."""
    for row in place.catalog.rows():
        if row["kind"] == Bento.kind and _sound(row):
            noun = codec.decode(Bento.kind, row["body"])
            assert isinstance(noun, Bento)
            yield noun


def _landed(place: Place) -> Found:
    from counterfoil.landing import read_manifest

    landing = place.settings.landing
    try:
        manifest = read_manifest(place.settings)
    except CounterfoilError as fault:
        yield [str(fault)]
        return
    parts = {
        landing / "events" / f"day={day}" / "events.parquet": part.sha256
        for day, part in manifest.days.items()
    }
    for name, part in (("items", manifest.items), ("people", manifest.people)):
        if part is not None:
            parts[landing / f"{name}.parquet"] = part.sha256
    for path, recorded in parts.items():
        relative = path.relative_to(landing).as_posix()
        if not path.is_file():
            yield [f"landed file {relative} is missing"]
        else:
            yield [] if canonical.file_digest(path) == recorded else [f"landed file {relative} was altered"]

"""Everything provable, proven: digests of nouns, versions, bentos and landed files recomputed, what was altered named.

Edges, verbs done, releases and receipts are held against each other in flows/agree.py, all of the catalog against the ledger in
flows/witness.py.
"""

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.catalog import codec
from counterfoil.catalog.catalog import row_of
from counterfoil.catalog.erased import Erased
from counterfoil.errors import CounterfoilError
from counterfoil.types import Bento, Erasure, Verdict
from flows import agree, witness
from flows.place import Place
from flows.verbs import bento_folder

Found = Iterator[list[str]]


def verify(place: Place, progress: Callable[[str, int], None] = lambda what, count: None) -> dict[str, Any]:
    """Return how many of each kind were checked, and one sentence per fault; no fault means that nothing was altered.

    `notes` are sentences about what is no fault: days that changed after they were last judged, what was erased on request.
    """
    checked: dict[str, int] = {}
    faults: list[str] = []
    checks: tuple[tuple[str, Callable[[Place], Found]], ...] = (
        ("done", agree.done),  # before the nouns: a run that goes on meanwhile adds to both
        ("nouns", _nouns),
        ("edges", agree.edges),
        ("releases", agree.releases),
        ("versions", _versions),
        ("bentos", _bentos),
        ("landed files", _landed),
        ("receipts", agree.receipts),
        ("sealed segments", agree.seals),
        ("entries", witness.entries),
    )
    for kind, check in checks:
        count = 0
        for found in check(place):
            count += 1
            faults.extend(found)
            progress(kind, count)
        checked[kind] = count
    notes = [*_notes(place), *_gone(place), *witness.unsigned(place)]
    return {"verified": not faults, "checked": checked, "faults": faults, "notes": notes}


def _nouns(place: Place) -> Found:
    """Recompute id and digest of every noun, and see that what it names is there."""
    rows = {row["id"]: row for row in place.catalog.rows()}
    for name, row in rows.items():
        if not _sound(row):
            yield [f"{name} in the catalog is not what was recorded"]
            continue
        named = sorted(agree.named(row["body"]) - rows.keys())
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


def _versions(place: Place) -> Found:
    """Hold every stored version against its manifest; what was erased must be gone, and what is gone must have been erased."""
    gone = _erased(place)
    for address in place.catalog.addresses():
        try:
            stored = place.catalog.stored(address)
            wrong = canonical.sha256(stored.manifest) != stored.sha256
            altered = place.store.check(address, stored.manifest, gone.of_version(address))
        except (ValueError, TypeError, AttributeError):
            wrong, altered = True, []
        yield [*([f"the manifest of {address} in the catalog was altered"] if wrong else []), *altered]


def _bentos(place: Place) -> Found:
    from bentos.bundle import open_bundle

    gone = _erased(place)
    for bento in _readable_bentos(place):
        if gone.bento(bento.tag) is not None:
            there = bento_folder(place, bento.tag).exists()
            yield [f"bento {bento.tag} was erased, and is there again"] if there else []
            continue
        try:
            found = open_bundle(bento_folder(place, bento.tag)).sha256
            yield [] if found == bento.sha256 else [f"bento {bento.tag} is not what was released"]
        except (CounterfoilError, OSError, ValueError, KeyError, TypeError) as fault:
            yield [f"bento {bento.tag}: {fault}"]


def _erased(place: Place) -> Erased:
    """Return what was erased, by the records that can be read; of the others `_nouns` has spoken."""
    rows = [row for row in place.catalog.rows() if row["kind"] == Erasure.kind and _sound(row)]
    return Erased(erasures=tuple(codec.decode(row["kind"], row["body"]) for row in rows))  # type: ignore[misc]


def _readable_bentos(place: Place) -> Iterator[Bento]:
    """Yield the bentos whose record can be read; of the others `_nouns` has spoken."""
    for row in place.catalog.rows():
        if row["kind"] == Bento.kind and _sound(row):
            noun = codec.decode(Bento.kind, row["body"])
            assert isinstance(noun, Bento)
            yield noun


def _landed(place: Place) -> Found:
    from counterfoil.landing import is_recorded, read_manifest

    landing = place.settings.landing
    try:
        manifest = read_manifest(place.settings)
    except (CounterfoilError, AttributeError) as fault:
        yield [str(fault)]
        return
    if not is_recorded(place.settings):
        yield ["the manifest of what has landed was altered: it does not list what its digest says"]
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


def _notes(place: Place) -> list[str]:
    """Say which days are of other bytes than their newest verdict judged: late events do that, the next run judges anew."""
    from counterfoil.landing import read_manifest

    try:
        days = read_manifest(place.settings).days
    except (CounterfoilError, AttributeError):
        return []  # said as a fault before
    judged: dict[str, Verdict] = {}
    for row in place.catalog.rows():
        if row["kind"] == Verdict.kind and _sound(row):
            verdict = codec.decode(Verdict.kind, row["body"])
            assert isinstance(verdict, Verdict)
            judged[verdict.subject.removeprefix("day:")] = verdict
    changed = [day for day, part in days.items() if day in judged and judged[day].sha256 != part.sha256]
    gone = sorted(
        v.subject for v in judged.values() if v.subject.startswith("day:") and v.subject[4:] not in days
    )
    return [
        *(f"day {day} changed since it was last judged; the next run judges it anew" for day in changed),
        *(f"{subject} was judged once, and is not among what has landed" for subject in gone),
    ]


def _gone(place: Place) -> list[str]:
    """Say what is not there since somebody was forgotten, and which erasure was begun and not finished."""
    said = [
        f"{one.id}: {len(one.stored)} files of stored versions, receipts in {len(one.segments)} sealed segments and"
        f" {len(one.bentos)} bentos were erased on request, on {one.at:%Y-%m-%d}"
        for one in _erased(place).erasures
    ]
    begun = sorted((place.settings.home / "erasures" / "pending").glob("*.json"))
    return [
        *said,
        *(
            f"the erasure {path.stem} was begun and is not finished; run `counterfoil forget` again"
            for path in begun
        ),
    ]

"""What must agree: edges with bodies, what was done with what is known, releases and receipts with what was recorded."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from counterfoil.catalog import codec
from counterfoil.catalog.erased import erased
from counterfoil.errors import CounterfoilError, IntegrityError, UnavailableError
from counterfoil.remote import Remote
from counterfoil.types import Noun, Receipt, Release
from flows.place import Place

NAMED = re.compile(rf'"((?:{"|".join(codec.NOUNS)})-[0-9a-f]{{16}})"')
Found = Iterator[list[str]]
# What a noun is made from without anything in between; what else it names is further back.
DIRECT = {
    "verdict": ("subject",),
    "attempt": ("dataset",),
    "candidate": ("dataset",),
    "evaluation": ("candidate", "dataset"),
    "dataset": ("verdicts",),
    "decision": ("dataset", "evaluations"),
    "bento": ("dataset",),
    "online": ("dataset",),
    "release": ("bento", "decision"),
    "approval": ("decision",),
    "quarantine": ("nouns", "lifts"),
}
# What a verb returns. A verb that is not here may return anything; `materialise` once returned nothing.
RETURNS = {
    "validate": "verdict",
    "snapshot": "dataset",
    "inspect": "verdict",
    "attempt": "attempt",
    "fit": "candidate",
    "evaluate": "evaluation",
    "decide": "decision",
    "package": "bento",
    "release": "release",
    "approve": "approval",
    "steer": "decision",
    "quarantine": "quarantine",
    "lift": "quarantine",
    "erase": "erasure",
}


def named(body: str) -> set[str]:
    """Return the ids of nouns that a body names."""
    return set(NAMED.findall(body))


def done(place: Place) -> Found:
    """Hold what each verb is said to have returned against what is known: it exists, is of its kind, and is not nothing."""
    finished = place.catalog.all_done()
    kinds = {row["id"]: row["kind"] for row in place.catalog.rows()}
    unjudged = _judged(place) - {name for row in finished for name in _ids(row["nouns"])}
    for row in finished:
        ids = _ids(row["nouns"])
        what = f"the record that {row['verb']} was done ({row['key'][:12]})"
        wanted = RETURNS.get(row["verb"])
        if not ids and wanted is not None and (row["verb"] != "validate" or unjudged):
            yield [f"{what} names nothing that it returned"]
            continue
        yield [
            *(f"{what} names {name}, which is not in the catalog" for name in ids if name not in kinds),
            *(
                f"{what} names {name}, which is no {wanted}"
                for name in ids
                if wanted is not None and kinds.get(name, wanted) != wanted
            ),
        ]


def _ids(text: str) -> list[str]:
    try:
        ids = orjson.loads(text)
    except ValueError:
        return ["something that cannot be read"]
    return [str(name) for name in ids] if isinstance(ids, list) else [str(ids)]


def _judged(place: Place) -> set[str]:
    """Return the ids of days' verdicts; those of a gate that broke are found anew, and their ids forgotten."""
    found = set()
    for row in place.catalog.rows():
        body = _plain(row["body"]) if row["kind"] == "verdict" else {}
        if str(body.get("subject")).startswith("day:") and not body.get("faulted"):
            found.add(row["id"])
    return found


def edges(place: Place) -> Found:
    """See that what a noun names is what it was made from, by its edges."""
    rows = list(place.catalog.rows())
    parents: dict[str, set[str]] = defaultdict(set)
    for child, parent in place.catalog.edges():
        parents[child].add(parent)
    known = {row["id"] for row in rows}
    reach: dict[str, set[str]] = {}
    for row in rows:
        name, body = row["id"], _plain(row["body"])
        direct = {wanted for field in DIRECT.get(row["kind"], ()) for wanted in named(_text(body.get(field)))}
        missing = {wanted for wanted in direct if wanted not in parents[name]}
        others = named(row["body"]) - direct
        if others:
            missing |= others - _reach(name, parents, reach)
        yield [
            f"the edge by which {name} was made from {wanted} is gone" for wanted in sorted(missing & known)
        ]


def _reach(name: str, parents: dict[str, set[str]], reach: dict[str, set[str]]) -> set[str]:
    """Return all that a noun was made from, however far back."""
    if name not in reach:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            fresh = parents.get(waiting.pop(), set()) - found
            found |= fresh
            waiting.extend(fresh)
        reach[name] = found
    return reach[name]


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _plain(body: str) -> dict[str, Any]:
    """Return a body as it was recorded; one that cannot be read is empty, and named elsewhere."""
    try:
        plain = orjson.loads(body)
    except ValueError:
        return {}
    return plain if isinstance(plain, dict) else {}


def releases(place: Place) -> Found:
    """Hold the release table against the nouns, row by row, and the champions' times of service against each other."""
    nouns = list(_release_nouns(place))
    rows = {row["id"]: row for row in place.catalog.releases()}
    for name in rows.keys() - {noun.id for noun in nouns}:
        if _read(place, name) is None:
            yield [f"the release table names {name}, which cannot be read from the catalog"]
    for noun in nouns:
        row = rows.get(noun.id)
        if row is None:
            yield [f"the release table does not name {noun.id} any more"]
        else:
            yield (
                [] if _same(row, noun) else [f"the release table says otherwise of {noun.id} than its record"]
            )
    champions = [noun for noun in nouns if noun.stage == "champion" and noun.id in rows]
    for use_case in sorted({noun.use_case for noun in champions}):
        yield _terms([noun for noun in champions if noun.use_case == use_case], rows)


def _release_nouns(place: Place) -> Iterator[Release]:
    """Yield the releases whose record can be read, oldest first; of the others the check of nouns has spoken."""
    ids = [row["id"] for row in place.catalog.rows() if row["kind"] == Release.kind]
    found = [noun for noun in (_read(place, name) for name in ids) if isinstance(noun, Release)]
    yield from sorted(found, key=lambda noun: (noun.use_case, noun.epoch))


def _read(place: Place, name: str) -> Noun | None:
    try:
        return place.catalog.get(name)
    except (CounterfoilError, ValueError, TypeError, AttributeError):
        return None


def _same(row: dict[str, Any], noun: Release) -> bool:
    """Say whether a row is its noun's."""
    same = all(getattr(noun, field) == row[field] for field in ("use_case", "epoch", "share", "valid_from"))
    return same and row["stage"] == noun.stage


def _terms(champions: list[Release], rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return a sentence per champion of one use case whose service does not end when the next one's begins."""
    faults = []
    for before, after in pairwise(champions):
        if rows[before.id]["valid_to"] != rows[after.id]["valid_from"]:
            faults.append(
                f"{before.id} served until {rows[before.id]['valid_to']}, but {after.id} began {rows[after.id]['valid_from']}"
            )
    last = champions[-1].id
    if rows[last]["valid_to"] is not None:
        faults.append(f"{last} is the newest champion, but served only until {rows[last]['valid_to']}")
    return faults


def receipts(place: Place) -> Found:
    """Recompute the checksum of every receipt, and hold the release that it names against the catalog."""
    from counterfoil.receipts import Receipts

    seen: dict[str, Noun | None] = {}
    for path in Receipts(place.settings.receipts).segments():
        yield from _segment(place, path, seen)


def seals(place: Place) -> Found:
    """Hold every sealed segment against what was recorded of it: that it is there, and its root over all receipts.

    What lies beside it, left by a sealing that was cut off, must hold the same.
    """
    from counterfoil.receipts import Receipts

    receipts = Receipts(place.settings.receipts)
    known = place.catalog.seals()  # before the files: a sealing that goes on meanwhile adds to both
    gone = erased(place.catalog)
    found = {path.stem: path for path in receipts.sealed_segments()}
    for name, row in known.items():
        if name not in found and place.remote is not None:
            yield _afar(place, place.remote, name, row, gone.segment(name))
        elif name not in found:
            yield [f"the sealed segment {name} of {row['receipts']} receipts is missing"]
        else:
            yield [*unlike_seal(found[name], row, gone.segment(name)), *_beside(found[name])]
    recorded = place.catalog.seals()
    for name in sorted(found.keys() - recorded.keys()):
        beside = found[name].with_suffix(".jsonl")
        unrecorded = [f"{found[name].name} was never sealed: nobody recorded it"]
        yield _beside(found[name]) if beside.exists() else unrecorded
    for path in receipts.strays():
        yield [f"{path.parent.name}/{path.name} lies where no segment of that name belongs"]


def _afar(place: Place, remote: Remote, name: str, row: dict[str, Any], redacted: str | None) -> list[str]:
    """Hold a sealed segment that left this machine against what was recorded of it."""
    path = place.folder("remote", f"{name}.parquet")
    day = f"{name[:4]}-{name[4:6]}-{name[6:8]}"
    try:
        if not remote.get(f"receipts/{day}/{path.name}", path):
            return [
                f"the sealed segment {name} of {row['receipts']} receipts is neither here nor in the remote"
            ]
        return unlike_seal(path, row, redacted)
    except UnavailableError as fault:
        return [f"the sealed segment {name} cannot be verified: {fault}"]
    finally:
        path.unlink(missing_ok=True)


def _beside(path: Path) -> list[str]:
    """Say when an open segment that lies beside a sealed one holds something else."""
    from counterfoil.receipts import sealed

    beside = path.with_suffix(".jsonl")
    try:
        if not beside.exists() or sealed.read(beside).root == sealed.of(path).root:
            return []
    except FileNotFoundError:
        return []
    except CounterfoilError as fault:
        return [f"{beside.name}: {fault}"]
    return [f"{beside.name} beside the sealed {path.name} holds other receipts"]


def unlike_seal(path: Path, row: dict[str, Any], redacted: str | None = None) -> list[str]:
    """Say when a segment is not what was sealed; `redacted` is its digest since an erasure took receipts out of it."""
    from counterfoil.receipts import sealed

    try:
        now = sealed.of(path)
    except IntegrityError as fault:
        return [str(fault)]
    if (now.root, now.receipts, now.sha256) == (row["root"], row["receipts"], redacted or row["sha256"]):
        return []
    return [f"{path.name} is not what was sealed: a receipt in it was altered, taken out or put in"]


def _segment(place: Place, path: Path, seen: dict[str, Noun | None]) -> Found:
    from counterfoil.receipts import store

    try:
        for payload in store.payloads(path):
            stub = store.decode(payload)
            if stub.release not in seen:
                seen[stub.release] = _read(place, stub.release)
            yield [*_of_this_segment(stub, path), *held(stub, seen[stub.release])]
    except (CounterfoilError, OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        yield [f"a receipt was altered: {fault}"]


def _of_this_segment(stub: Receipt, path: Path) -> list[str]:
    if stub.id.startswith(f"receipt-{path.stem}-"):
        return []
    return [f"{stub.id} lies in {path.name}, where it was not written"]


def held(stub: Receipt, release: Noun | None) -> list[str]:
    """Say when a receipt and the release that it names do not agree."""
    if not isinstance(release, Release):
        return [f"{stub.id} was answered by {stub.release}, which is not in the catalog"]
    said = (stub.use_case, stub.bento, stub.epoch)
    if said == (release.use_case, release.tag, release.epoch):
        return []
    return [
        f"{stub.id} says otherwise of {stub.release} than the catalog: it names {stub.bento}, epoch {stub.epoch}"
    ]

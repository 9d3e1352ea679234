"""The page Lineage: one thing, what it was made from, and what was made from it; by way of its release also an answer."""

from typing import Any

from counterfoil import canonical
from counterfoil.catalog.around import Kin, around, neighbours
from counterfoil.console import words
from counterfoil.receipts.recent import newest
from counterfoil.types import Decision, Noun, OnlineRows, Receipt, Release
from flows.place import Place

SHOWN = 4  # neighbours of one kind in the picture
PAGE = 50
TEXT = 120  # characters of a field that are shown


def lineage(place: Place, id: str) -> dict[str, Any]:
    """Return what lies around a noun or an answer. UnknownError when there is none of that id."""
    if id.startswith("receipt-"):
        return _of_receipt(place, place.receipts.find(id))
    found = around(place.catalog, id, SHOWN)
    return {
        "id": id,
        "kind": found.noun.kind,
        "recorded_at": found.recorded_at,
        "says": say(found.noun),
        "fields": _fields(found.noun),
        "parents": [_side(place, one) for one in found.parents],
        "children": [_side(place, one) for one in found.children],
        "shown": SHOWN,
    }


def _of_receipt(place: Place, stub: Receipt) -> dict[str, Any]:
    release = place.catalog.get(stub.release)
    online = [one for one in place.catalog.find(OnlineRows, stub.use_case) if one.as_of == stub.feature_time]
    parents = [_one(release, "release"), *(_one(one, "features") for one in online[:1])]
    return {
        "id": stub.id,
        "kind": "receipt",
        "recorded_at": stub.time,
        "says": words.counted(len(stub.items), "item"),
        "fields": [("use case", stub.use_case), ("arm", stub.arm), ("bento", stub.bento)],
        "parents": parents,
        "children": [],
        "shown": SHOWN,
    }


def _one(noun: Noun, role: str) -> dict[str, Any]:
    return {"kind": noun.kind, "count": 1, "shown": [{"role": role, "id": noun.id, "says": say(noun)}]}


def _side(place: Place, kin: Kin) -> dict[str, Any]:
    shown = [{"role": role, "id": id, "says": say(place.catalog.get(id))} for role, id in kin.shown]
    return {"kind": kin.kind, "count": kin.count, "shown": shown}


def kin(place: Place, id: str, side: str, kind: str, first: int) -> dict[str, Any]:
    """Return a page of the neighbours of one kind, of which a picture shows only the first."""
    place.catalog.get(id)
    count, rows = neighbours(place.catalog, id, side, kind, first, PAGE)
    return {
        "id": id,
        "kind": kind,
        "side": side,
        "first": first,
        "count": count,
        "page": PAGE,
        "rows": [{"role": role, "id": name, "says": say(place.catalog.get(name))} for role, name in rows],
    }


def start(place: Place) -> dict[str, Any]:
    """Return where a walk may begin: the newest releases, decisions and answers."""
    releases = place.catalog.find(Release, limit=5)
    decisions = place.catalog.find(Decision, limit=5)
    receipts = newest(place.receipts, 5)
    return {
        "starts": [
            *({"id": one.id, "says": say(one)} for one in releases),
            *({"id": one.id, "says": say(one)} for one in decisions),
            *({"id": one.id, "says": words.when(one.time)} for one in receipts),
        ]
    }


def say(noun: Noun) -> str:
    """Return the few words that tell a noun from others of its kind."""
    told = {name: getattr(noun, name) for name in _TELLING.get(noun.kind, ()) if hasattr(noun, name)}
    if not told:
        return str(getattr(noun, "use_case", "") or "")
    return ", ".join(_said(name, value) for name, value in told.items())


_TELLING: dict[str, tuple[str, ...]] = {
    "verdict": ("subject", "passed", "rows"),
    "dataset": ("rows", "as_of"),
    "attempt": ("family", "number", "state"),
    "candidate": ("family", "seed"),
    "evaluation": ("family", "units"),
    "decision": ("use_case", "verb"),
    "bento": ("tag",),
    "online": ("rows", "as_of"),
    "release": ("epoch", "stage"),
    "approval": ("by", "at"),
    "quarantine": ("subject", "reason"),
    "erasure": ("at", "by"),
}
_PLAIN = {"subject", "family", "verb", "use_case", "tag", "stage", "state", "reason"}


def _said(name: str, value: Any) -> str:
    if name == "passed":
        return "passed" if value else "refused"
    if hasattr(value, "tzinfo"):
        text = f"{value:%Y-%m-%d}"
    elif isinstance(value, bool) or not isinstance(value, int):
        text = str(value)
    else:
        text = f"{value:,}"
    if name in _PLAIN:
        return text
    return f"{text} {name}" if name in ("rows", "units") else f"{name.replace('_', ' ')} {text}"


def _fields(noun: Noun) -> list[tuple[str, str]]:
    """Return the fields of a noun as text, without those that are lists of other things."""
    rows = []
    for name, value in canonical.plain(noun).items():
        if value is None or isinstance(value, list):
            continue
        text = canonical.encode(value).decode() if isinstance(value, dict) else _said("", value).strip()
        rows.append((name.replace("_", " "), text if len(text) <= TEXT else text[:TEXT] + "…"))
    return rows

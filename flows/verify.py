"""Everything provable, proven: digests of nouns, versions, bentos and landed files recomputed, what was altered named."""

from collections.abc import Callable
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.catalog import codec
from counterfoil.errors import CounterfoilError
from counterfoil.types import Bento
from flows.place import Place
from flows.verbs import bento_folder


def verify(place: Place, progress: Callable[[str, int], None] = lambda what, count: None) -> dict[str, Any]:
    """Return how many of each kind were checked, and one sentence per fault; no fault means that nothing was altered."""
    checked: dict[str, int] = {}
    faults: list[str] = []
    for kind, check in (
        ("nouns", _nouns),
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


def _nouns(place: Place) -> Any:
    for noun_id, body, recorded in place.catalog.bodies():
        try:
            plain = orjson.loads(body)
            noun = codec.decode(noun_id.split("-")[0], plain)
            sound = canonical.sha256(plain) == recorded and noun.id == noun_id
        except (CounterfoilError, ValueError, TypeError, KeyError, AttributeError):
            sound = False
        yield [] if sound else [f"{noun_id} in the catalog is not what was recorded"]


def _versions(place: Place) -> Any:
    for address in place.catalog.addresses():
        stored = place.catalog.stored(address)
        wrong = canonical.sha256(stored.manifest) != stored.sha256
        altered = [f"the manifest of {address} in the catalog was altered"] if wrong else []
        yield altered + place.store.check(address, stored.manifest)


def _bentos(place: Place) -> Any:
    from bentos.bundle import open_bundle

    for bento in place.catalog.find(Bento):
        try:
            found = open_bundle(bento_folder(place, bento.tag)).sha256
            yield [] if found == bento.sha256 else [f"bento {bento.tag} is not what was released"]
        except (CounterfoilError, OSError) as fault:
            yield [f"bento {bento.tag}: {fault}"]


def _landed(place: Place) -> Any:
    from counterfoil.landing import read_manifest

    landing, manifest = place.settings.landing, read_manifest(place.settings)
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

"""The request to learn anew without a person: written when they are forgotten, done when what serves never saw them.

A file per use case in the home, so that no kill loses it; the next turn of the loop, by night or by hand, picks it up. A champion
that learned from them does not defend (flows/champion.py), so that whoever is best without them takes its place.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.catalog.erased import erased
from counterfoil.errors import CounterfoilError
from counterfoil.files import write_durably
from counterfoil.processes import Processes
from counterfoil.types import Bento, Decision
from flows import machine
from flows.people import learned, record
from flows.place import Place


def ask(place: Place, use_case: str, commitment: str, bentos: list[str]) -> None:
    """Ask for a retrain; `bentos` are tags that go once they serve no more, since they hold rows of the person."""
    before = waiting(place, use_case)
    asked = {**(before or {}).get("erasures", {}), commitment: sorted(bentos)}
    at = (before or {}).get("at") or canonical.utc_text(datetime.now(UTC))
    write_durably(_path(place, use_case), orjson.dumps({"use_case": use_case, "at": at, "erasures": asked}))


def waiting(place: Place, use_case: str) -> dict[str, Any] | None:
    """Return the request that waits for a use case, None when none does."""
    path = _path(place, use_case)
    if not path.is_file():
        return None
    told: dict[str, Any] = orjson.loads(path.read_bytes())
    return told


def trigger(place: Place) -> bool:
    """Start the nightly flow now where a Prefect server of this home runs; False where none does, or it refuses."""
    server = Processes(place.settings.home).running().get("prefect-server")
    if server is None:
        return False
    try:
        machine.trigger(server.url)
    except CounterfoilError:
        return False
    return True


def finish(place: Place, use_case: str) -> bool:
    """End the request once what serves did not learn from who was forgotten; True when it ended.

    Bentos that were left because they served then go now, which is recorded as the erasure's own.
    """
    request = waiting(place, use_case)
    champion = place.catalog.champion(use_case)
    if request is None or champion is None:
        return False
    decision = place.catalog.get(champion.decision)
    assert isinstance(decision, Decision)
    if decision.winner is not None and erased(place.catalog).learned(decision.winner):
        return False
    serving = learned.serving(place)
    for commitment, tags in request["erasures"].items():
        left = [noun for noun, _ in place.catalog.recorded(Bento) if noun.tag in tags]
        if any(bento.id in serving for bento in left):
            return False
        for bento in left:
            learned.take_away(place, bento)
        if tags:
            record.supplement(place, commitment, tags)
    _path(place, use_case).unlink()
    return True


def _path(place: Place, use_case: str) -> Path:
    return place.settings.home / "retrain" / f"{use_case}.json"

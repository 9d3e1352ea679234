"""The page Data: days with their verdicts, rows kept out by reason, and how far days drift."""

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from counterfoil.console.read import verdicts
from counterfoil.console.read.verdicts import Judged
from counterfoil.errors import UnknownError
from counterfoil.landing import quarantine, read_manifest
from counterfoil.settings import Settings
from counterfoil.types import Verdict
from flows.place import Place

DRIFT_DAYS = 60
BATCHES = 20
STATES = {
    "good": "passed",
    "warn": "passed with warnings",
    "bad": "refused",
    "fault": "the gate broke",
    "changed": "changed since its verdict",
    "unjudged": "no verdict yet",
}


def data(place: Place) -> dict[str, Any]:
    """Return what has landed and what validation says of it."""
    manifest = read_manifest(place.settings)
    judged = verdicts.newest(place)
    days = [
        _day(day, part.rows, part.sha256, judged.get(f"day:{day}")) for day, part in manifest.days.items()
    ]
    return {
        "days": days,
        "counts": dict(Counter(day["state"] for day in days)),
        "states": STATES,
        "events": manifest.rows,
        "items": manifest.items.rows if manifest.items else 0,
        "people": manifest.people.rows if manifest.people else 0,
        "batches": [
            {
                "batch": one.batch,
                "name": one.name,
                "rows_in": one.rows_in,
                "landed": one.landed,
                "duplicates": one.duplicates,
                "quarantined": one.quarantined,
            }
            for one in reversed(manifest.batches[-BATCHES:])
        ],
        "quarantined": kept_out(place.settings),
        "warnings": _warnings(judged),
        "drift": _drift(days, judged),
    }


def _day(day: str, rows: int, sha256: str, verdict: Judged | None) -> dict[str, Any]:
    state = "unjudged"
    if verdict is not None:
        state = verdict.state if verdict.sha256 == sha256 else "changed"
    return {
        "day": day,
        "rows": rows,
        "state": state,
        "verdict": None if verdict is None else verdict.id,
        "failed": [] if verdict is None else list(verdict.failed),
    }


def kept_out(settings: Settings) -> list[dict[str, Any]]:
    """Return how many rows are in quarantine by reason, most first, with the batches that they came in."""
    files = sorted((settings.landing / "quarantine").glob("*.parquet"))
    return _kept_out(settings, tuple(map(_signature, files)))


def _signature(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return path.name, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=4)
def _kept_out(settings: Settings, _files: tuple[tuple[str, int, int], ...]) -> list[dict[str, Any]]:
    rows: Counter[str] = Counter()
    batches: dict[str, list[str]] = {}
    for held in quarantine(settings):
        rows.update(held.reasons)
        for reason in held.reasons:
            batches.setdefault(reason, []).append(held.batch)
    return [
        {"reason": reason, "rows": count, "batches": batches[reason]} for reason, count in rows.most_common()
    ]


def _warnings(judged: dict[str, Judged]) -> list[dict[str, Any]]:
    """Return which expectations failed on how many subjects, most first."""
    found = Counter(name for one in judged.values() for name in one.failed)
    return [{"expectation": name, "subjects": count} for name, count in found.most_common(12)]


def _drift(days: list[dict[str, Any]], judged: dict[str, Judged]) -> list[dict[str, Any]]:
    """Return each measure against the days before over the newest days, those that moved most first."""
    newest = [
        (day["day"], judged[f"day:{day['day']}"])
        for day in days[-DRIFT_DAYS:]
        if f"day:{day['day']}" in judged
    ]
    names = dict.fromkeys(name for _, one in newest for name in one.drift)
    found = []
    for name in names:
        values = [one.drift[name] for _, one in newest if name in one.drift]
        if max(values) > min(values):  # what never moved tells nothing
            found.append(
                {
                    "measure": name,
                    "values": values,
                    "newest": values[-1],
                    "low": min(values),
                    "high": max(values),
                    "from": newest[0][0],
                    "to": newest[-1][0],
                }
            )
    return sorted(found, key=lambda one: -(one["high"] - one["low"]))


def day(place: Place, name: str) -> dict[str, Any]:
    """Return a day with every expectation of its newest verdict. UnknownError when no such day has landed."""
    part = read_manifest(place.settings).days.get(name)
    if part is None:
        raise UnknownError(f"no day {name!r} has landed; see /data")
    judged = verdicts.newest(place).get(f"day:{name}")
    told = _day(name, part.rows, part.sha256, judged)
    checks: list[Any] = []
    if judged is not None:
        verdict = place.catalog.get(judged.id)
        assert isinstance(verdict, Verdict)
        checks = sorted(verdict.checks, key=lambda one: (one.success, one.severity != "critical"))
    return {**told, "says": STATES[told["state"]], "sha256": part.sha256, "checks": checks}

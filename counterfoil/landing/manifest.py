"""What lies in the landing folder: rows and SHA-256 of every file, and the batches that came in.

The manifest is the authority on what has landed; a file that it does not name has not.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.errors import IntegrityError
from counterfoil.settings import Settings


@dataclass(frozen=True, slots=True)
class DayPart:
    """Rows and SHA-256 of one file: a day of events, or the whole of the items or the people."""

    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What one import did. rows_in == landed + duplicates + quarantined."""

    batch: str
    name: str
    digest: str
    rows_in: int
    landed: int
    duplicates: int
    quarantined: int
    reasons: dict[str, int]
    days: tuple[str, ...]
    items: int
    people: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Days in order, items, people, and the batches in the order in which they came.

    `key` is the fingerprint of the key by which people are pseudonyms here; None before anything landed.
    """

    days: dict[str, DayPart] = field(default_factory=dict)
    items: DayPart | None = None
    people: DayPart | None = None
    batches: tuple[Batch, ...] = ()
    key: str | None = None

    @property
    def rows(self) -> int:
        """Number of events that landed."""
        return sum(part.rows for part in self.days.values())

    @property
    def digest(self) -> str:
        """SHA-256 of what the files hold; the history of batches and the key stay out."""
        return canonical.sha256({"days": self.days, "items": self.items, "people": self.people})

    def batch(self, digest: str) -> Batch | None:
        """Return the batch that landed this very source, or None."""
        return next((b for b in self.batches if b.digest == digest), None)

    def plus(
        self,
        batch: Batch,
        parts: Mapping[str, DayPart],
        items: DayPart | None,
        people: DayPart | None,
        key: str | None,
        gone: Collection[str] = (),
    ) -> "Manifest":
        """Return the manifest after a batch that wrote these parts, and left nothing of the days `gone`."""
        days = {day: part for day, part in {**self.days, **parts}.items() if day not in gone}
        return Manifest(
            days=dict(sorted(days.items())),
            items=items or self.items,
            people=people or self.people,
            batches=(*self.batches, batch),
            key=self.key or key,
        )


def load(settings: Settings) -> Manifest:
    """Return the manifest as it lies on the disk; an empty one when nothing has landed.

    Raises IntegrityError when the file is there but is no manifest.
    """
    path = place(settings)
    if not path.exists():
        return Manifest()
    try:
        return decode(orjson.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError) as fault:
        raise IntegrityError(
            f"{path} is not a manifest of landing ({fault}); restore it or land anew"
        ) from fault


def is_recorded(settings: Settings) -> bool:
    """Say whether the digest that the manifest's file holds is that of what it lists; so it is when nothing has landed."""
    path = place(settings)
    if not path.exists():
        return True
    plain = orjson.loads(path.read_bytes())
    return bool(plain.get("digest") == decode(plain).digest)


def place(settings: Settings) -> Path:
    """Return where the manifest lies."""
    return settings.landing / "manifest.json"


def encode(manifest: Manifest) -> bytes:
    """Return the manifest's bytes: indented JSON, ending in a line feed."""
    plain = {**asdict(manifest), "digest": manifest.digest}
    return orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def decode(plain: dict[str, Any]) -> Manifest:
    """Return the manifest that its JSON describes."""
    return Manifest(
        days={day: DayPart(**part) for day, part in sorted(plain["days"].items())},
        items=part_of(plain["items"]),
        people=part_of(plain["people"]),
        batches=tuple(batch_of(b) for b in plain["batches"]),
        key=plain.get("key"),  # manifests before the key was noted have none
    )


def part_of(plain: dict[str, Any] | None) -> DayPart | None:
    """Return the part that its JSON describes."""
    return DayPart(**plain) if plain else None


def batch_of(plain: dict[str, Any]) -> Batch:
    """Return the batch that its JSON describes."""
    return Batch(**{**plain, "days": tuple(plain["days"])})

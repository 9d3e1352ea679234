"""Which file of a day holds the rows of which batch: what each batch brought, kept beside the landing folder.

A day's file is written anew by every batch that adds to it, so a batch lies in the file that it made and in all that were made of
that one. The records hold no rows but those of items, and nobody's name; they outlive a landing folder that is emptied and
filled anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.errors import IntegrityError
from counterfoil.files import write_durably
from counterfoil.landing.manifest import Batch, DayPart, Manifest
from counterfoil.settings import Settings

FOLDER = "batches/"  # how names of files begin that lie beside the landing folder


@dataclass(frozen=True, kw_only=True, slots=True)
class DayOrigin:
    """What a batch did to a file: its SHA-256 before (None: there was none) and after; of a day, rows with an item by kind."""

    before: str | None
    sha256: str
    kinds: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a batch brought: rows by day, how many items, and the file of items before and after it (None: it brought none).

    `known` is False where it landed before records were kept.
    """

    batch: str
    digest: str
    days: dict[str, DayOrigin] = field(default_factory=dict)
    items: int = 0
    catalogue: DayOrigin | None = None
    known: bool = True

    @property
    def stem(self) -> str:
        """How the names of this record's files begin; landed anew into another landing folder, a batch has another record."""
        return f"{self.batch}.{canonical.sha256([self.days, self.catalogue])[:8]}"


def write(settings: Settings, origin: Origin) -> None:
    """Write the record; once more is the same as once."""
    settings.batches.mkdir(parents=True, exist_ok=True)
    write_durably(settings.batches / f"{origin.stem}.json", canonical.encode(asdict(origin)))


def of_rewritten(batch: Batch, days: Mapping[str, DayPart], before: Manifest) -> Origin:
    """Return the record of what only wrote days anew: it brought nothing, but its files hold what those before them held."""
    known = before.days
    return Origin(
        batch=batch.batch,
        digest=batch.digest,
        days={
            day: DayOrigin(before=known[day].sha256 if day in known else None, sha256=part.sha256, kinds={})
            for day, part in days.items()
        },
    )


def items_file(stem: str) -> str:
    """Return the name of the file with the items that a batch brought."""
    return f"{FOLDER}{stem}.items.parquet"


def place(settings: Settings, name: str) -> Path:
    """Return where a file of a batch belongs: below the landing folder, or beside it."""
    return (
        settings.batches / name.removeprefix(FOLDER) if name.startswith(FOLDER) else settings.landing / name
    )


def origins(settings: Settings, manifest: Manifest) -> list[Origin]:
    """Return the records of all batches, also of those that the landing folder has forgotten.

    A batch that landed before records were kept has the days that it touched alone. IntegrityError when a file is no record.
    """
    found = [_read(path) for path in sorted(settings.batches.glob("*.json"))]
    told = {origin.batch for origin in found}
    for batch in manifest.batches:
        if batch.batch not in told:
            found.append(unknown(batch))
    return found


def unknown(batch: Batch) -> Origin:
    """Return the record of a batch of which no more is known than its days."""
    days = {day: DayOrigin(before=None, sha256="", kinds={}) for day in batch.days}
    return Origin(batch=batch.batch, digest=batch.digest, days=days, items=batch.items, known=False)


def holding(seeds: Iterable[str], records: Iterable[Origin], day: str) -> set[str]:
    """Return the SHA-256 of each file of a day that holds what these files of it held: they and what was made of them."""
    return _after(
        seeds, [one for record in records if record.known and (one := record.days.get(day)) is not None]
    )


def holding_items(seed: str, records: Iterable[Origin]) -> set[str]:
    """Return the SHA-256 of each file of items that this one is, or that was made of it."""
    return _after({seed}, [one for record in records if (one := record.catalogue) is not None])


def _after(seeds: Iterable[str], steps: Iterable[DayOrigin]) -> set[str]:
    versions, edges = set(seeds), [(step.before, step.sha256) for step in steps]
    waiting = list(versions)
    while waiting:
        version = waiting.pop()
        for before, after in edges:
            if before == version and after not in versions:
                versions.add(after)
                waiting.append(after)
    return versions


def decode(plain: dict[str, Any]) -> Origin:
    """Return the record that its JSON describes."""
    days = {day: DayOrigin(**one) for day, one in plain["days"].items()}
    catalogue = DayOrigin(**plain["catalogue"]) if plain.get("catalogue") else None
    return Origin(**{**plain, "days": days, "catalogue": catalogue})


def _read(path: Path) -> Origin:
    try:
        return decode(orjson.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise IntegrityError(f"{path} is no record of a batch ({fault}); restore it") from fault

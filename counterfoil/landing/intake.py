"""One source into the landing folder: read, check, pseudonymise, drop duplicates, merge into days, commit.

Memory is bounded by DuckDB's limit and one row group, never by the history: sorts and joins spill into the staging folder.
"""

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from counterfoil import canonical
from counterfoil.contracts import EVENT, Contract
from counterfoil.contracts.field import SQL
from counterfoil.errors import IntegrityError
from counterfoil.importers import Source
from counterfoil.importers.sql import literal, parquet
from counterfoil.landing import held, part, staging
from counterfoil.landing import offer as offers
from counterfoil.landing.engine import connect
from counterfoil.landing.manifest import Batch, DayPart, Manifest
from counterfoil.landing.offer import CONTRACTS, KEPT, SOUND, Offer
from counterfoil.landing.origin import DayOrigin, Origin, items_file
from counterfoil.landing.progress import Progress, silent
from counterfoil.pseudonym import fingerprint, require_same
from counterfoil.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """What landing did with a source. rows_in == landed + duplicates + quarantined, in events.

    `items` and `people` count sound rows of the source; `reasons` also counts items and people that broke their contract.
    `already`: this very source had landed before, nothing was done, and the figures are those of that time.
    """

    batch: str
    rows_in: int
    landed: int
    duplicates: int
    quarantined: int
    reasons: dict[str, int]
    days: tuple[str, ...]
    items: int
    people: int
    already: bool
    seconds: float


def land(source: Source, settings: Settings, progress: Progress | None = None) -> Landed:
    """Bring a source into the landing folder, exactly once.

    Raises ContractError when the files cannot be read as what they should be (nothing has changed then),
    ConflictError when another import is under way, IntegrityError when files that landed before were altered, ConfigError
    when people landed before by another pseudonym key.
    """
    started = time.perf_counter()
    tell = progress or silent
    with staging.locked(settings, tell):
        manifest = staging.load_for_intake(settings)
        known = manifest.batch(source.digest)
        batch = known or Intake(source, settings, manifest, tell).run()
    return landed(batch, already=known is not None, seconds=time.perf_counter() - started)


def landed(batch: Batch, *, already: bool, seconds: float) -> Landed:
    """Return what a batch's record says, as the answer of `land`."""
    return Landed(
        batch=batch.batch,
        rows_in=batch.rows_in,
        landed=batch.landed,
        duplicates=batch.duplicates,
        quarantined=batch.quarantined,
        reasons=batch.reasons,
        days=batch.days,
        items=batch.items,
        people=batch.people,
        already=already,
        seconds=round(seconds, 3),
    )


class Intake:
    """The steps of one batch, from the source's queries to the commit. `run` does them in order."""

    def __init__(self, source: Source, settings: Settings, manifest: Manifest, progress: Progress) -> None:
        self.source, self.settings, self.manifest, self.progress = source, settings, manifest, progress
        self.batch = f"{source.kind}-{source.digest[:16]}"
        self.folder = staging.open_stage(settings, self.batch)

    def run(self) -> Batch:
        """Stage the batch, commit it, and return its record. What fails before the commit leaves nothing behind."""
        try:
            with connect(self.settings, self.folder / "spill") as con:
                offer = offers.read(con, self.source, self.progress)
                self.name_people(offer)
                offers.mark_duplicates(offer, self._files(self.manifest.days), self.progress)
                what = self._stage(offer)
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        staging.commit(self.settings, self.folder, what, self.progress)
        return what.batch

    def name_people(self, offer: Offer) -> None:
        """Give everybody a pseudonym. ConfigError when the source has them already, by another key."""
        if self.source.key is not None:
            require_same(self.source.key, self.settings.pseudonym_key, self.source.name)
            offers.keep_pseudonyms(offer)
        offers.name_people(offer, self.settings.pseudonym_key, self.progress)

    def stage_quarantine(self, offer: Offer) -> tuple[list[str], list[str]]:
        """Stage the file of rows that broke their contract; return names of files to move into place and to remove."""
        name = held.file_of(self.batch)
        query = " UNION ALL ".join(offers.broken(offer, table) for table in offer.tables)
        rows = offer.stream(f"SELECT * FROM ({query}) ORDER BY contract, row")
        made = part.write_part(rows, staging.staged(self.folder, name), held.SCHEMA)
        self.progress("write quarantine", made.rows)
        return ([name], []) if made.rows else ([], [])

    def _stage(self, offer: Offer) -> staging.Commit:
        days = self._stage_days(offer) if "events" in offer.tables else {}
        catalogue = {name: self._stage_catalogue(offer, name) for name in offer.tables if name != "events"}
        moves, removals = self.stage_quarantine(offer)
        record = self._record(offer, days)
        origin = self._origin(offer, days, record.items, catalogue.get("items"))
        if origin.items:
            moves = [*moves, self._stage_items(offer, origin)]
        return staging.Commit(
            batch=record,
            days=days,
            items=catalogue.get("items"),
            people=catalogue.get("people"),
            moves=(*map(part.day_file, days), *(f"{name}.parquet" for name in catalogue), *moves),
            removals=tuple(removals),
            key=fingerprint(self.settings.pseudonym_key),
            origin=origin,
        )

    def _origin(
        self, offer: Offer, days: Mapping[str, DayPart], items: int, catalogue: DayPart | None
    ) -> Origin:
        """Return what the batch brought: by day and kind, with the files that its days had before and have now."""
        kinds: dict[str, dict[str, int]] = {day: {} for day in days}
        if days:
            query = f"""SELECT strftime(CAST(time AS DATE), '%Y-%m-%d') AS day, kind, count(item) FROM events
                        WHERE {KEPT} GROUP BY CAST(time AS DATE), kind ORDER BY 1, 2"""
            for day, kind, rows in offer.con.execute(query).fetchall():
                kinds[day][kind] = rows
        known = self.manifest.days
        return Origin(
            batch=self.batch,
            digest=self.source.digest,
            days={
                day: DayOrigin(
                    before=known[day].sha256 if day in known else None, sha256=part.sha256, kinds=kinds[day]
                )
                for day, part in days.items()
            },
            items=items,
            catalogue=None
            if catalogue is None
            else DayOrigin(
                before=self.manifest.items.sha256 if self.manifest.items else None,
                sha256=catalogue.sha256,
                kinds={},
            ),
        )

    def _stage_items(self, offer: Offer, origin: Origin) -> str:
        """Stage the items that the batch brought and that were not there just so before; return the file's name."""
        name = items_file(origin.stem)
        query = _fresh("items", "items.id", "")
        if self.manifest.items:
            old = self.settings.landing / "items.parquet"
            query = f"({query}) EXCEPT SELECT {columns_of(old, CONTRACTS['items'])} FROM read_parquet({literal(old)})"
        query = f"SELECT * FROM ({query}) AS brought ORDER BY id"
        part.write_part(offer.stream(query), staging.staged(self.folder, name), CONTRACTS["items"].arrow())
        return name

    def _stage_days(self, offer: Offer) -> dict[str, DayPart]:
        changed = offer.con.execute(
            f"SELECT DISTINCT strftime(time, '%Y-%m-%d') FROM events WHERE {KEPT}"
        ).fetchall()
        before = [day for (day,) in sorted(changed) if day in self.manifest.days]
        for day in before:
            prove(self.settings.landing / part.day_file(day), self.manifest.days[day])
        columns = ", ".join(
            "names.pseudonym AS person" if n == "person" else f"events.{n}" for n in EVENT.names
        )
        query = f"SELECT {columns} FROM events JOIN names ON names.name = events.person WHERE {KEPT}"
        if before:
            query += f" UNION ALL SELECT {', '.join(EVENT.names)} FROM {parquet(self._files(before))}"
        rows = offer.stream(f"SELECT * FROM ({query}) AS merged ORDER BY time, id")
        return part.write_days(rows, self.folder, EVENT.arrow(), self.progress)

    def _stage_catalogue(self, offer: Offer, name: str) -> DayPart:
        contract = CONTRACTS[name]
        key, join = f"{name}.id", ""
        if name == "people":
            key, join = "names.pseudonym", "JOIN names ON names.name = people.id"
        query = _fresh(name, key, join)
        known = self.manifest.items if name == "items" else self.manifest.people
        if known:
            old = self.settings.landing / f"{name}.parquet"
            prove(old, known)
            query = f"""WITH fresh AS ({query}) SELECT * FROM fresh UNION ALL
                        SELECT {columns_of(old, contract)} FROM read_parquet({literal(old)})
                        WHERE id NOT IN (SELECT id FROM fresh)"""
        rows = offer.stream(f"SELECT * FROM ({query}) AS merged ORDER BY id")
        made = part.write_part(rows, staging.staged(self.folder, f"{name}.parquet"), contract.arrow())
        self.progress(f"write {name}", made.rows)
        return made

    def _record(self, offer: Offer, days: Mapping[str, DayPart]) -> Batch:
        broken = " UNION ALL ".join(
            f"SELECT reason FROM ({offers.broken(offer, table)})" for table in offer.tables
        )
        reasons = offer.con.execute(
            f"SELECT reason, count(*) FROM ({broken}) GROUP BY reason ORDER BY reason"
        ).fetchall()
        known = self.manifest.days
        return _balanced(
            Batch(
                batch=self.batch,
                name=self.source.name,
                digest=self.source.digest,
                rows_in=offer.rows("events") + offer.unreadable.get("events", 0),
                landed=sum(p.rows - (known[day].rows if day in known else 0) for day, p in days.items()),
                duplicates=offer.count("SELECT count(*) FROM duplicates"),
                quarantined=offer.rows("events", "reason IS NOT NULL") + offer.unreadable.get("events", 0),
                reasons=dict(reasons),
                days=tuple(days),
                items=offer.count(f"SELECT count(DISTINCT id) FROM items WHERE {SOUND}")
                if "items" in offer.tables
                else 0,
                people=offer.count(f"SELECT count(DISTINCT id) FROM people WHERE {SOUND}")
                if "people" in offer.tables
                else 0,
            )
        )

    def _files(self, days: Iterable[str]) -> tuple[Path, ...]:
        return tuple(self.settings.landing / part.day_file(day) for day in days)


def _fresh(name: str, key: str, join: str) -> str:
    """Return the query of a batch's sound items or people, the last of each."""
    rest = ", ".join(f"{name}.{n}" for n in CONTRACTS[name].names if n != "id")
    return f"""SELECT {key} AS id, {rest} FROM {name} {join} WHERE {SOUND}
               QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {name}.rowid DESC) = 1"""


def columns_of(path: Path, contract: Contract) -> str:
    """Return the contract's columns of a file that landed, NULL for those that came into the contract since."""
    held = pq.read_schema(path).names
    return ", ".join(
        f.name if f.name in held else f"CAST(NULL AS {SQL[f.type]}) AS {f.name}" for f in contract.fields
    )


def _balanced(batch: Batch) -> Batch:
    if batch.rows_in != batch.landed + batch.duplicates + batch.quarantined:
        raise IntegrityError(
            f"{batch.batch}: {batch.rows_in} rows in are not {batch.landed} landed + {batch.duplicates} duplicates + "
            f"{batch.quarantined} quarantined; nothing was changed, report this as a defect"
        )
    return batch


def prove(path: Path, known: DayPart) -> None:
    """Raise IntegrityError unless a landed file is the one that the manifest knows."""
    if not path.exists() or canonical.file_digest(path) != known.sha256:
        raise IntegrityError(
            f"{path} is not the file that landed; restore it from the store before importing more"
        )

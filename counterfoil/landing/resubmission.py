"""Rows out of quarantine, after a fix: they land as any others, and those that pass leave it."""

import time
from pathlib import Path

from counterfoil import canonical
from counterfoil.contracts import EVENT
from counterfoil.errors import ContractError
from counterfoil.importers import Source
from counterfoil.importers.source import digest, existing
from counterfoil.importers.sql import column, literal
from counterfoil.importers.table import open_table
from counterfoil.landing import held, part, staging
from counterfoil.landing import offer as offers
from counterfoil.landing.intake import Intake, Landed, landed
from counterfoil.landing.manifest import Manifest
from counterfoil.landing.offer import Offer
from counterfoil.landing.progress import Progress, silent
from counterfoil.settings import Settings

KIND = "resubmit"
VERSION = 1
ASIDE = ("contract", "reason", "raw")


def resubmit(
    settings: Settings, batch: str, fixed: Path | None = None, progress: Progress | None = None
) -> Landed:
    """Land a batch's events in quarantine again: as they are (after the contract was changed), or as `fixed` says.

    `fixed` is a table (CSV, Parquet, JSON lines) with the contract's columns and `row`, the number that quarantine shows.
    A person's pseudonym, as quarantine shows it, stays; any other name is made one. Rows that are not in `fixed`, or break the
    contract again, stay. Raises UnknownError when nothing of the batch is in quarantine, ContractError when `fixed` does not fit,
    ConfigError when the pseudonym key is another one than before.
    """
    started = time.perf_counter()
    tell = progress or silent
    with staging.locked(settings, tell):
        manifest = staging.load_for_intake(settings)
        source = _source(settings, batch, fixed, manifest)
        known = manifest.batch(source.digest)
        done = known or Resubmission(source, settings, manifest, tell, held.place(settings, batch)).run()
    return landed(done, already=known is not None, seconds=time.perf_counter() - started)


class Resubmission(Intake):
    """An intake whose broken rows stay where they were, and whose people are pseudonyms already."""

    def __init__(
        self, source: Source, settings: Settings, manifest: Manifest, progress: Progress, old: Path
    ) -> None:
        super().__init__(source, settings, manifest, progress)
        self.old = old

    def name_people(self, offer: Offer) -> None:
        """Keep the pseudonyms that quarantine holds; give one to any new name."""
        offer.con.execute(f"""
            CREATE TABLE names AS SELECT DISTINCT name, name AS pseudonym
            FROM (SELECT raw ->> '$.person' AS name FROM read_parquet({literal(self.old)}) WHERE contract = 'event')
            WHERE name IS NOT NULL""")
        self._refuse_strangers(offer)
        super().name_people(offer)

    def stage_quarantine(self, offer: Offer) -> tuple[list[str], list[str]]:
        """Stage what stays: rows that were not submitted, and those that broke the contract again, with the new reason."""
        name = held.file_of(self.old.stem)
        query = f"""
            SELECT old.contract, old.row, coalesce(again.reason, old.reason) AS reason, coalesce(again.raw, old.raw) AS raw
            FROM read_parquet({literal(self.old)}) AS old
            LEFT JOIN ({offers.broken(offer, "events")}) AS again ON again.row = old.row AND old.contract = 'event'
            WHERE old.contract <> 'event' OR old.row NOT IN (SELECT row FROM events WHERE reason IS NULL AND row IS NOT NULL)
            ORDER BY old.contract, old.row"""
        made = part.write_part(offer.stream(query), staging.staged(self.folder, name), held.SCHEMA)
        self.progress("write quarantine", made.rows)
        return ([name], []) if made.rows else ([], [name])

    def _refuse_strangers(self, offer: Offer) -> None:
        known = f"SELECT row FROM read_parquet({literal(self.old)}) WHERE contract = 'event'"
        strange = offer.count(f"SELECT count(*) FROM events WHERE row IS NULL OR row NOT IN ({known})")
        twice = offer.rows("events") - offer.count("SELECT count(DISTINCT row) FROM events") - strange
        if strange or twice > 0 or offer.unreadable["events"]:
            raise ContractError(
                f"{self.source.name}: {strange} rows are not in quarantine, {max(twice, 0)} come twice, "
                f"{offer.unreadable['events']} cannot be read; keep the column row as quarantine shows it"
            )


def _source(settings: Settings, batch: str, fixed: Path | None, manifest: Manifest) -> Source:
    name = f"resubmission of {batch}"
    if fixed is None:
        old = held.place(settings, batch)
        values = ", ".join(f"raw ->> '$.{n}' AS {column(n)}" for n in EVENT.names)
        query = f"""SELECT row, {values} FROM read_parquet({literal(old)})
                    WHERE contract = 'event' AND raw ->> '$.id' IS NOT NULL"""
        return Source(
            kind=KIND,
            name=name,
            digest=canonical.sha256([KIND, batch, canonical.file_digest(old)]),
            events=query,
        )
    table = open_table((existing(fixed, KIND),), "events")
    table.require("row", *(f.name for f in EVENT.fields if f.required))
    if strange := [n for n in table.columns or () if n not in (*EVENT.names, *ASIDE, "row")]:
        raise ContractError(
            f"{fixed.name} has columns that no event has: {', '.join(strange)}; leave them out"
        )
    present = [n for n in EVENT.names if table.columns is None or n in table.columns]
    values = ", ".join(f"{table.value(n)} AS {column(n)}" for n in present)
    return Source(
        kind=KIND,
        name=name,
        digest=digest(KIND, VERSION, (fixed,), batch),
        events=f"SELECT TRY_CAST({table.value('row')} AS BIGINT) AS row, {values} FROM {table.relation}",
        delimited=(("events", table.text),) if table.text else (),
    )

"""One source into the landing folder: check, pseudonymise, drop duplicates, merge into days, commit.

Memory is bounded by DuckDB's limit and one row group, never by the history: sorts and joins spill into the staging folder.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from counterfoil import canonical
from counterfoil.contracts import EVENT, ITEM, PERSON, Contract
from counterfoil.errors import ContractError, IntegrityError
from counterfoil.importers import Source
from counterfoil.importers.source import literal
from counterfoil.landing import check, part, staging
from counterfoil.landing.engine import connect
from counterfoil.landing.manifest import Batch, DayPart, Manifest, read_manifest
from counterfoil.landing.progress import Progress, silent
from counterfoil.pseudonym import pseudonym
from counterfoil.settings import Settings

BATCH_ROWS = 65_536
CATALOGUE = {"items": ITEM, "people": PERSON}
QUARANTINE = pa.schema(
    [("contract", pa.string()), ("row", pa.int64()), ("reason", pa.string()), ("raw", pa.string())]
)


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

    Raises ContractError when the files cannot be read as what they should be (nothing has changed then), ConflictError when another
    import is under way, IntegrityError when files that landed before are not what was recorded.
    """
    started = time.perf_counter()
    with staging.locked(settings):
        manifest = read_manifest(settings)
        known = manifest.batch(source.digest)
        batch = known or Intake(source, settings, manifest, progress or silent).run()
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
    """The steps of one batch, over one DuckDB connection. `run` does them in order."""

    def __init__(self, source: Source, settings: Settings, manifest: Manifest, progress: Progress) -> None:
        self.source, self.settings, self.manifest, self.progress = source, settings, manifest, progress
        self.batch = f"{source.kind}-{source.digest[:16]}"
        self.folder = staging.open_stage(settings, self.batch)
        self.con = connect(settings, self.folder / "spill")

    def run(self) -> Batch:
        """Stage the batch, commit it, and return its record."""
        with self.con:
            tables = self._read()
            self._name_people(tables)
            self._mark_duplicates(tables)
            what = self._stage(tables)
        staging.commit(self.settings, self.folder, what, self.progress)
        return what.batch

    def _read(self) -> list[str]:
        queries = {"events": self.source.events, "items": self.source.items, "people": self.source.people}
        contracts = {"events": EVENT, **CATALOGUE}
        tables = [name for name, query in queries.items() if query]
        for name in tables:
            self._offer(name, contracts[name], queries[name] or "")
            self.progress(f"read {name}", self._count(f"SELECT count(*) FROM {name}"))
        return tables

    def _offer(self, name: str, contract: Contract, query: str) -> None:
        try:
            types = {row[0]: row[1] for row in self.con.execute(f"DESCRIBE {query}").fetchall()}
            self.con.execute(f"CREATE TABLE {name} AS {check.offered(contract, query, types)}")
        except duckdb.Error as fault:
            first = str(fault).splitlines()[0]
            raise ContractError(
                f"{self.source.name}: {name} cannot be read: {first}; mend the file and import it again"
            ) from fault

    def _name_people(self, tables: list[str]) -> None:
        self.con.execute("CREATE TABLE names (name VARCHAR, pseudonym VARCHAR)")
        wanted = {"events": "SELECT person FROM events", "people": "SELECT id FROM people"}
        union = " UNION ".join(query for name, query in wanted.items() if name in tables)
        if not union:
            return
        for batch in self._stream(f"SELECT name FROM ({union}) AS u(name) WHERE name IS NOT NULL"):
            names = batch.column(0)
            made = [pseudonym(name, self.settings.pseudonym_key) for name in names.to_pylist()]
            with self.con.cursor() as cursor:
                cursor.register("made", pa.table({"name": names, "pseudonym": pa.array(made, pa.string())}))
                cursor.execute("INSERT INTO names SELECT name, pseudonym FROM made")
        self.progress("pseudonyms", self._count("SELECT count(*) FROM names"))

    def _mark_duplicates(self, tables: list[str]) -> None:
        self.con.execute("CREATE TABLE duplicates (row BIGINT)")
        if "events" not in tables:
            return
        self.con.execute("CREATE TABLE seen (id VARCHAR)")
        if self.manifest.days:
            files = self._files(self.manifest.days)
            self.con.execute(
                f"INSERT INTO seen SELECT id FROM read_parquet({files}) "
                "WHERE id IN (SELECT id FROM events WHERE reason IS NULL)"
            )
        # Hashes first: they are an eighth of the ids, and nearly always no two are alike.
        self.con.execute("""
            INSERT INTO duplicates
            WITH alike AS (SELECT hash(id) AS code FROM events WHERE reason IS NULL GROUP BY code HAVING count(*) > 1),
            numbered AS (SELECT rowid AS row, row_number() OVER (PARTITION BY id ORDER BY rowid) AS turn
                         FROM events WHERE reason IS NULL AND hash(id) IN (SELECT code FROM alike))
            SELECT row FROM numbered WHERE turn > 1
            UNION SELECT rowid FROM events WHERE reason IS NULL AND id IN (SELECT id FROM seen)""")
        self.progress("duplicates", self._count("SELECT count(*) FROM duplicates"))

    def _stage(self, tables: list[str]) -> staging.Commit:
        days = self._stage_days() if "events" in tables else {}
        catalogue = {name: self._stage_catalogue(name) for name in CATALOGUE if name in tables}
        reasons = self._stage_quarantine(tables)
        moves = [part.day_file(day) for day in days] + [f"{name}.parquet" for name in catalogue]
        moves += [f"quarantine/{self.batch}.parquet"] if reasons else []
        return staging.Commit(
            batch=self._record(tables, days, reasons),
            days=days,
            items=catalogue.get("items"),
            people=catalogue.get("people"),
            moves=tuple(moves),
        )

    def _stage_days(self) -> dict[str, DayPart]:
        changed = self.con.execute(
            "SELECT DISTINCT strftime(time, '%Y-%m-%d') FROM events "
            "WHERE reason IS NULL AND rowid NOT IN (SELECT row FROM duplicates)"
        ).fetchall()
        before = {day: self.manifest.days[day] for (day,) in sorted(changed) if day in self.manifest.days}
        self._prove(before)
        columns = ", ".join(
            "names.pseudonym AS person" if n == "person" else f"events.{n}" for n in EVENT.names
        )
        query = f"""SELECT {columns} FROM events JOIN names ON names.name = events.person
                    WHERE reason IS NULL AND events.rowid NOT IN (SELECT row FROM duplicates)"""
        if before:
            query += f" UNION ALL SELECT {', '.join(EVENT.names)} FROM read_parquet({self._files(before)})"
        ordered = self._stream(f"SELECT * FROM ({query}) AS merged ORDER BY time, id")
        return part.write_days(ordered, self.folder, EVENT.arrow(), self.progress)

    def _stage_catalogue(self, name: str) -> DayPart:
        contract = CATALOGUE[name]
        rest = [n for n in contract.names if n != "id"]
        key = "names.pseudonym" if name == "people" else f"{name}.id"
        join = f"JOIN names ON names.name = {name}.id" if name == "people" else ""
        query = f"""SELECT {key} AS id, {", ".join(f"{name}.{n}" for n in rest)} FROM {name} {join} WHERE reason IS NULL
                    QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {name}.rowid DESC) = 1"""
        known = self.manifest.items if name == "items" else self.manifest.people
        if known:
            old = self.settings.landing / f"{name}.parquet"
            self._prove_file(old, known)
            query = f"""WITH fresh AS ({query}) SELECT * FROM fresh UNION ALL
                        SELECT {", ".join(contract.names)} FROM read_parquet({literal(old)})
                        WHERE id NOT IN (SELECT id FROM fresh)"""
        ordered = self._stream(f"SELECT * FROM ({query}) AS merged ORDER BY id")
        made = part.write_part(ordered, staging.staged(self.folder, f"{name}.parquet"), contract.arrow())
        self.progress(f"write {name}", made.rows)
        return made

    def _stage_quarantine(self, tables: list[str]) -> dict[str, int]:
        query = " UNION ALL ".join(self._broken(name) for name in tables)
        counts = self.con.execute(
            f"SELECT reason, count(*) FROM ({query}) GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        if counts:
            ordered = self._stream(f"SELECT * FROM ({query}) ORDER BY contract, row")
            made = part.write_part(
                ordered, staging.staged(self.folder, f"quarantine/{self.batch}.parquet"), QUARANTINE
            )
            self.progress("write quarantine", made.rows)
        return dict(counts)

    def _broken(self, name: str) -> str:
        contract, key = {"events": ("event", "person"), "items": ("item", None), "people": ("person", "id")}[
            name
        ]
        prefix = "" if name == "events" else f"{contract}: "
        join = f"LEFT JOIN names ON names.name = {name}.{key}" if key else ""
        raw = f"json_merge_patch(raw, json_object({literal(key)}, names.pseudonym))" if key else "raw"
        return f"""SELECT {literal(contract)} AS contract, {name}.rowid + 1 AS row, {literal(prefix)} || reason AS reason,
                          CAST({raw} AS VARCHAR) AS raw FROM {name} {join} WHERE reason IS NOT NULL"""

    def _record(self, tables: list[str], days: Mapping[str, DayPart], reasons: dict[str, int]) -> Batch:
        rows_in = broken = doubles = 0
        if "events" in tables:
            rows_in = self._count("SELECT count(*) FROM events")
            broken = self._count("SELECT count(*) FROM events WHERE reason IS NOT NULL")
            doubles = self._count("SELECT count(*) FROM duplicates")
        written = sum(p.rows for p in days.values()) - sum(
            self.manifest.days[d].rows for d in days if d in self.manifest.days
        )
        if rows_in != written + doubles + broken:
            raise IntegrityError(
                f"{self.batch}: {rows_in} rows in are not {written} landed + {doubles} duplicates + {broken} quarantined; "
                "nothing was changed, report this as a defect"
            )
        counts = {
            n: self._count(f"SELECT count(DISTINCT id) FROM {n} WHERE reason IS NULL")
            for n in CATALOGUE
            if n in tables
        }
        return Batch(
            batch=self.batch,
            name=self.source.name,
            digest=self.source.digest,
            rows_in=rows_in,
            landed=written,
            duplicates=doubles,
            quarantined=broken,
            reasons=reasons,
            days=tuple(days),
            items=counts.get("items", 0),
            people=counts.get("people", 0),
        )

    def _prove(self, parts: Mapping[str, DayPart]) -> None:
        for day, known in parts.items():
            self._prove_file(self.settings.landing / part.day_file(day), known)

    def _prove_file(self, path: Path, known: DayPart) -> None:
        if not path.exists() or canonical.file_digest(path) != known.sha256:
            raise IntegrityError(
                f"{path} is not the file that landed; restore it from the store before importing more"
            )

    def _files(self, days: Mapping[str, DayPart]) -> str:
        return "[" + ", ".join(literal(self.settings.landing / part.day_file(day)) for day in days) + "]"

    def _stream(self, query: str) -> pa.RecordBatchReader:
        return self.con.sql(query).to_arrow_reader(BATCH_ROWS)

    def _count(self, query: str) -> int:
        row = self.con.execute(query).fetchone()
        return int(row[0]) if row else 0

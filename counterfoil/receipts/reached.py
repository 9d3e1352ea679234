"""How many answers, and how many people, something reached: counted over the columns beside the payloads of sealed segments.

Open segments, and those that were sealed before there were such columns, are read receipt by receipt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson

from counterfoil import canonical
from counterfoil.collected import KNOWN_DAYS, SHOWN
from counterfoil.errors import IntegrityError
from counterfoil.receipts import sealed
from counterfoil.receipts.store import Receipts, payloads
from counterfoil.types import NOBODY

BATCH = 8_192
RECENT_US = KNOWN_DAYS * 86_400_000_000
RECENT = '"recent":{'  # in the payload of a receipt that knew anything so
NEVER_US = (-(2**62), 2**62)  # before and after any moment
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Span = tuple[datetime | None, datetime | None]
Row = tuple[str, str, list[str], int, int | None, bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fresh:
    """Events that answers knew within a second, before anything was built of them: from one moment on, before another.

    Moments are microseconds since 1970. `kinds` or `item` None: whatever they are. No answer before `known_us` knew of them.
    """

    since_us: int = NEVER_US[0]
    until_us: int = NEVER_US[1]
    kinds: frozenset[str] | None = None
    item: str | None = None
    known_us: int = NEVER_US[0]

    def touched(self, one: Mapping[str, Any], time_us: int) -> bool:
        """Say whether a receipt, of an answer at that moment, names such an event, or an item that such showings made rest."""
        recent = one["features"].get("recent")
        if not recent or time_us < self.known_us:
            return False
        lately = self.since_us < time_us and self.until_us > time_us - RECENT_US
        return any(
            self.since_us <= at_us < self.until_us and self._about(item, kind)
            for item, kind, at_us, *_ in recent.get("events", ())
        ) or (lately and any(self._about(item, SHOWN) for item in recent.get("tired", ())))

    def _about(self, item: str, kind: str) -> bool:
        return (self.item is None or item == self.item) and (self.kinds is None or kind in self.kinds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought:
    """Which answers: by these releases; or of features as of these moments, where answered in one of the spans beside each.

    A span has a beginning and an end, either None where it has none; those of one moment do not overlap. Or to a person (a
    pseudonym), or that showed an item, or knew `fresh` events. Of releases that may have answered as a shadow (`challengers`)
    only those count that somebody saw.
    """

    releases: frozenset[str] = frozenset()
    moments: Mapping[datetime, Sequence[Span]] = field(default_factory=dict)
    person: str | None = None
    item: str | None = None
    challengers: frozenset[str] = frozenset()
    fresh: tuple[Fresh, ...] = ()

    @property
    def by_columns_of_old(self) -> bool:
        """Whether the columns suffice that every sealed segment has."""
        return not self.moments and self.item is None

    @property
    def nothing(self) -> bool:
        """Whether no answer can be meant."""
        return not (self.releases or self.moments or self.person or self.item or self.fresh)

    def touched(self, one: Mapping[str, Any], time_us: int) -> bool:
        """Say whether a receipt knew any of the fresh events."""
        return any(some.touched(one, time_us) for some in self.fresh)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What was found: how many answers, to how many people that are known, between which moments, by which release."""

    answers: int = 0
    people: int = 0
    first: datetime | None = None
    last: datetime | None = None
    releases: dict[str, int] = field(default_factory=dict)


def count(
    receipts: Receipts, sought: Sought, progress: Callable[[str, int], None] = lambda what, count: None
) -> Answers:
    """Count the answers that are sought. IntegrityError when a segment cannot be read."""
    if sought.nothing:
        return Answers()
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        _ask(con, sought)
        segments = receipts.segments()
        try:
            whole, slow = _cut(con, segments, sought, _knowing(con, segments, sought))
            for rows, files in whole.items():
                for seen, among in _by_sight(con, rows, sought, files):
                    for part, some in _by_releases(con, sought, among):
                        con.execute(*_counting(seen, part, some))
        except duckdb.Error as fault:
            raise IntegrityError(
                f"the receipts cannot be counted ({str(fault).splitlines()[0]}); run `counterfoil verify`"
            ) from fault
        for done, path in enumerate(slow):
            _count_slowly(con, path, sought)
            progress("receipts", done + 1)
        return _answers(con)


# Who was answered by whom how often: far fewer rows than receipts, and what is distinct in them is distinct in all.
_FOUND = "CREATE TEMP TABLE found (release VARCHAR, person VARCHAR, answers BIGINT, first_us BIGINT, last_us BIGINT)"
_COUNT = """
INSERT INTO found
SELECT r.release, r.person, count(*), min(r.time_us), max(r.time_us) FROM ({rows}) r
LEFT JOIN sought_release s ON s.release = r.release LEFT JOIN sought_moment m ON m.feature_us = r.feature_us
    AND r.time_us >= m.since_us AND r.time_us < m.until_us
WHERE {wanted}
GROUP BY r.release, r.person
"""
_NEW = """SELECT release, person, items, epoch_us(time) AS time_us, epoch_us(feature_time) AS feature_us
FROM read_parquet($files, hive_partitioning = false)"""
_OLD = """SELECT release, person, NULL::VARCHAR[] AS items, epoch_us(time) AS time_us, NULL::BIGINT AS feature_us
FROM read_parquet($files, hive_partitioning = false)"""
_READ = "SELECT * FROM read_one_by_one"
# The payload is read where there is no other way: it is most of a segment.
_SEEN = """ WHERE NOT coalesce(list_contains($challengers, release) AND contains(decode(payload), '"arm":"shadow"'), false)"""


def _ask(con: duckdb.DuckDBPyConnection, sought: Sought) -> None:
    con.execute(_FOUND)
    con.execute("CREATE TEMP TABLE sought_release (release VARCHAR)")
    con.execute("CREATE TEMP TABLE sought_moment (feature_us BIGINT, since_us BIGINT, until_us BIGINT)")
    con.execute("INSERT INTO sought_release SELECT unnest($1::VARCHAR[])", [sorted(sought.releases)])
    spans = [
        (
            _microseconds(moment),
            NEVER_US[0] if since is None else _microseconds(since),
            NEVER_US[1] if until is None else _microseconds(until),
        )
        for moment, some in sorted(sought.moments.items())
        for since, until in some
    ]
    con.execute(
        "INSERT INTO sought_moment SELECT unnest($1::BIGINT[]), unnest($2::BIGINT[]), unnest($3::BIGINT[])",
        [[span[column] for span in spans] for column in range(3)],
    )


def _by_sight(
    con: duckdb.DuckDBPyConnection, rows: str, sought: Sought, files: list[str]
) -> list[tuple[str, list[str]]]:
    """Return which query reads which files: where a challenger answered, it leaves out what nobody saw."""
    if not sought.challengers:
        return [(rows, files)]
    query = """SELECT DISTINCT filename FROM read_parquet($files, filename = true, hive_partitioning = false)
               WHERE list_contains($challengers, release)"""
    given = {"files": files, "challengers": sorted(sought.challengers)}
    mixed = {file for (file,) in con.execute(query, given).fetchall()}
    parts = ((rows + _SEEN, sorted(mixed)), (rows, [file for file in files if file not in mixed]))
    return [(part, some) for part, some in parts if some]


def _by_releases(
    con: duckdb.DuckDBPyConnection, sought: Sought, files: list[str]
) -> list[tuple[Sought, list[str]]]:
    """Return what is to be sought in which files: where all answers are by sought releases, their items need not be read."""
    if sought.item is None or not sought.releases:
        return [(sought, files)]
    query = """SELECT DISTINCT filename FROM read_parquet($files, filename = true, hive_partitioning = false) r
               LEFT JOIN sought_release s ON s.release = r.release WHERE s.release IS NULL"""
    others = {file for (file,) in con.execute(query, {"files": files}).fetchall()}
    known = [file for file in files if file not in others]
    parts = ((replace(sought, item=None, moments={}, person=None), known), (sought, sorted(others)))
    return [(part, some) for part, some in parts if some]


def _counting(rows: str, sought: Sought, files: list[str] | None = None) -> tuple[str, dict[str, Any]]:
    """Return the statement that counts what is sought in these rows, and its values; it reads the columns that it needs."""
    asked = {
        "s.release IS NOT NULL": sought.releases,
        "m.feature_us IS NOT NULL": sought.moments,
        "r.person = $person": sought.person,
        "list_contains(r.items, $item)": sought.item,
        "r.touched": sought.fresh and rows == _READ,
    }
    wanted = " OR ".join(condition for condition, value in asked.items() if value) or "false"
    given: dict[str, Any] = {"person": sought.person, "item": sought.item, "files": files}
    if "$challengers" in rows:
        given["challengers"] = sorted(sought.challengers)
    return _COUNT.format(rows=rows, wanted=wanted), {
        name: value for name, value in given.items() if value is not None
    }


def _knowing(con: duckdb.DuckDBPyConnection, segments: list[Path], sought: Sought) -> frozenset[str]:
    """Return the sealed segments in which somebody may have known fresh events that are sought."""
    closed = [str(path) for path in segments if path.suffix == sealed.SUFFIX]
    if not sought.fresh or not closed:
        return frozenset()
    first = min(max(one.since_us, one.known_us) for one in sought.fresh)
    last = max(min(one.until_us, NEVER_US[1] - RECENT_US) for one in sought.fresh) + RECENT_US
    query = """SELECT DISTINCT filename FROM read_parquet($files, filename = true, hive_partitioning = false)
               WHERE epoch_us(time) >= $first AND epoch_us(time) < $last AND contains(decode(payload), $recent)"""
    given = {"files": closed, "first": first, "last": last, "recent": RECENT}
    return frozenset(file for (file,) in con.execute(query, given).fetchall())


def _cut(
    con: duckdb.DuckDBPyConnection, segments: list[Path], sought: Sought, knowing: frozenset[str]
) -> tuple[dict[str, list[str]], list[Path]]:
    """Return the segments that can be counted by their columns, by the query that reads them, and those to be read through."""
    closed = [str(path) for path in segments if path.suffix == sealed.SUFFIX and str(path) not in knowing]
    slow = [path for path in segments if path.suffix != sealed.SUFFIX or str(path) in knowing]
    if not closed:
        return {}, slow
    try:
        named = "SELECT DISTINCT file_name FROM parquet_schema($files) WHERE name = 'feature_time'"
        new = {row[0] for row in con.execute(named, {"files": closed}).fetchall()}
    except duckdb.Error as fault:
        raise IntegrityError(
            f"the receipts cannot be counted ({str(fault).splitlines()[0]}); run `counterfoil verify`"
        ) from fault
    old = [path for path in closed if path not in new]
    if not sought.by_columns_of_old:
        slow += map(Path, old)
        old = []
    return {rows: files for rows, files in ((_NEW, sorted(new)), (_OLD, old)) if files}, slow


def _count_slowly(con: duckdb.DuckDBPyConnection, path: Path, sought: Sought) -> None:
    """Count in a segment whose receipts must be read one by one."""
    held: list[Row] = []
    for row in _rows(path, sought):
        held.append(row)
        if len(held) >= BATCH:
            _take(con, held, sought)
            held = []
    _take(con, held, sought)


def _rows(path: Path, sought: Sought) -> Iterator[Row]:
    """Yield what is asked about of every receipt that may be sought."""
    for payload in payloads(path):
        one = orjson.loads(payload)
        moment = None if one["feature_time"] is None else canonical.utc_time(one["feature_time"])
        touched = bool(sought.fresh) and sought.touched(one, _at_us(one))
        items = [] if sought.item is None else [item["item"] for item in one["items"]]
        if one["release"] in sought.challengers and one.get("arm") == "shadow":
            continue
        if (
            one["release"] in sought.releases
            or moment in sought.moments
            or one["person"] == sought.person
            or sought.item in items
            or touched
        ):
            yield (
                one["release"],
                one["person"],
                items,
                _at_us(one),
                None if moment is None else _microseconds(moment),
                touched,
            )


def _at_us(one: Mapping[str, Any]) -> int:
    return _microseconds(canonical.utc_time(one["time"]))


def _take(con: duckdb.DuckDBPyConnection, rows: list[Row], sought: Sought) -> None:
    if not rows:
        return
    columns = [list(column) for column in zip(*rows, strict=True)]
    con.execute(
        """CREATE OR REPLACE TEMP TABLE read_one_by_one AS SELECT unnest($1::VARCHAR[]) AS release,
        unnest($2::VARCHAR[]) AS person, unnest($3::VARCHAR[][]) AS items, unnest($4::BIGINT[]) AS time_us,
        unnest($5::BIGINT[]) AS feature_us, unnest($6::BOOLEAN[]) AS touched""",
        columns,
    )
    con.execute(*_counting(_READ, sought))


def _answers(con: duckdb.DuckDBPyConnection) -> Answers:
    query = (
        "SELECT coalesce(sum(answers), 0)::BIGINT, count(DISTINCT person) FILTER (person NOT IN ('', $1)),"
        " min(first_us), max(last_us) FROM found"
    )
    answers, people, first, last = con.execute(query, [NOBODY]).fetchall()[0]
    by_release = con.execute(
        "SELECT release, sum(answers)::BIGINT FROM found GROUP BY release ORDER BY release"
    ).fetchall()
    return Answers(
        answers=answers, people=people, first=_moment(first), last=_moment(last), releases=dict(by_release)
    )


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)

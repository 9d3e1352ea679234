"""Data of any shop, landed in a home of its own and cut by a protocol: the split, and the names that its numbers stand for.

`prepare` lands once; `read` gives the split again in any process. Nothing is fitted here.
"""

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from counterfoil.errors import InputError
from counterfoil.importers import IMPORTERS, Source, open_source
from counterfoil.importers.sql import literal
from counterfoil.landing import land, read_manifest
from counterfoil.landing.progress import Progress
from counterfoil.pseudonym import pseudonym
from counterfoil.settings import Settings
from counterfoil.types import EventKind, FeatureSpec
from models import catalogue, columns, dataset, splits
from models.data import Content, Interactions
from models.splits import Split

Protocol = Literal["leave-one-out", "time", "next-item"]
ORDER_ONLY = ("s3rec", "sessions")  # formats whose times are made up
LABELS: tuple[EventKind, ...] = (
    "purchase",
    "rating",
    "cart",
    "click",
    "view",
)  # the first that occurs is asked for
REPEATED = 0.01  # share of repeated pairs from which on repeats are part of the task
MOST_CUTOFFS = 3
TERMS, DATASET = "terms.json", "dataset"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is measured on, and how it is cut.

    `cut` is a share of the events (0.9) or a day, for the protocol `time`; what follows to the end of the data is one horizon,
    and `back` says how many horizons before the cut to cut instead. `repeats` None means: as the data are.
    """

    path: Path | None
    format: str
    protocol: Protocol
    refit: bool = False
    repeats: bool | None = None
    cut: str = "0.9"
    back: int = 0

    def __post_init__(self) -> None:
        """Raise InputError that names every fault."""
        faults = []
        if self.format != "s3rec" and self.format not in IMPORTERS:
            faults.append(f"no format is called {self.format!r}; there are s3rec, {', '.join(IMPORTERS)}")
        if self.protocol not in get_args(Protocol):
            faults.append(
                f"no protocol is called {self.protocol!r}; there are {', '.join(get_args(Protocol))}"
            )
        if self.protocol == "time" and self.format in ORDER_ONLY:
            faults.append(
                f"{self.format} knows only the order of events, so it cannot be cut by time; leave one out"
            )
        if self.protocol == "next-item" and self.format != "sessions":
            faults.append(
                f"next-item asks within sessions, and {self.format} has none; use the format sessions"
            )
        if faults:
            raise InputError("; ".join(faults))


@dataclass(frozen=True, kw_only=True)
class Named:
    """A split, and what its numbers stand for: `unit_ids` per row of the trial, `item_ids` per item, as the data name them."""

    split: Split
    unit_ids: np.ndarray
    item_ids: np.ndarray


def prepare(terms: Terms, settings: Settings, progress: Progress) -> Terms:
    """Land the data into the home, settle what the terms left open, and return them. InputError when nothing can be asked."""
    source = open_source("sessions" if terms.format == "s3rec" else terms.format, terms.path)
    land(source, settings, progress)
    kind = _label(settings)
    repeats = terms.repeats
    if repeats is None:
        repeats = terms.protocol == "next-item" or _repeated(settings, kind) > REPEATED
    settled = dataclasses.replace(terms, repeats=repeats)
    about = {
        **dataclasses.asdict(settled),
        "path": str(terms.path),
        "kind": kind,
        "people": _names(source, settings),
    }
    if terms.protocol == "time":
        _write_dataset(settings, kind, terms.cut, terms.back)
    (settings.home / TERMS).write_bytes(orjson.dumps(about))
    return settled


def read(settings: Settings) -> Named:
    """Return the split of a prepared home."""
    about = orjson.loads((settings.home / TERMS).read_bytes())
    if about["protocol"] == "next-item":
        history = landed_history(settings, about["kind"])
        asked = _next_item(history, Path(about["path"]))
        content = catalogue_of(settings, history.item_ids)
        return dataclasses.replace(asked, split=splits.described(asked.split, content))
    if about["protocol"] == "time":
        opened = dataset.read(settings.home / DATASET, threads=settings.threads)
        split, person_ids, item_ids = (
            opened.split(repeats=about["repeats"]),
            opened.person_ids,
            opened.item_ids,
        )
    else:
        history = landed_history(settings, about["kind"])
        split = splits.leave_one_out(history.interactions, refit=about["refit"], repeats=about["repeats"])
        split = splits.described(split, catalogue_of(settings, history.item_ids))
        person_ids, item_ids = history.person_ids, history.item_ids
    names = np.array([about["people"][name] for name in person_ids[split.unit_P]])
    return Named(split=split, unit_ids=plain(names), item_ids=plain(item_ids))


def plain(ids: np.ndarray) -> np.ndarray:
    """Return ids as whole numbers when every one of them is written as such, else as they are."""
    text = ids.astype(str)
    try:
        numbers = text.astype(np.int64)
    except (ValueError, OverflowError):
        return text
    return numbers if (numbers.astype(str) == text).all() else text


@dataclass(frozen=True)
class History:
    """Interactions and what their numbers stand for, both in sorted order."""

    interactions: Interactions
    person_ids: np.ndarray
    item_ids: np.ndarray


def landed_history(settings: Settings, kind: str) -> History:
    """Read every landed event of one kind that was not given back.

    Items are numbered over the catalogue and whatever was taken beside it, people over those who did anything.
    """
    with _connect(settings) as con:
        con.execute("SET TimeZone = 'UTC'")
        catalogue = settings.landing / "items.parquet"
        known = (
            f"SELECT id FROM {literal(catalogue)}" if catalogue.is_file() else "SELECT NULL AS id WHERE false"
        )
        con.execute(
            "CREATE TEMP TABLE taken AS SELECT person, item, time, coalesce(quantity, 1) AS weight"
            f" FROM {_events(settings)} WHERE kind = $kind AND item IS NOT NULL AND coalesce(quantity, 1) > 0",
            {"kind": kind},
        )
        con.execute(
            f"CREATE TEMP TABLE items AS SELECT id, row_number() OVER (ORDER BY id) - 1 AS number"
            f" FROM (SELECT item AS id FROM taken UNION ({known}))"
        )
        rows = con.sql(
            "SELECT dense_rank() OVER (ORDER BY e.person) - 1 AS person, i.number AS item, epoch_us(e.time) AS time,"
            " e.weight AS weight, e.person AS id FROM taken e JOIN items i ON i.id = e.item ORDER BY 1, 3, 2"
        ).fetchnumpy()
        item_ids = con.sql("SELECT id FROM items ORDER BY number").fetchnumpy()["id"]
    person_N = rows["person"].astype(np.int32)
    first_P = np.flatnonzero(np.diff(person_N, prepend=-1))
    return History(
        interactions=Interactions(
            person_N=person_N,
            item_N=rows["item"].astype(np.int32),
            time_N=rows["time"].astype(np.int64),
            weight_N=rows["weight"].astype(np.float32),
            people=len(first_P),
            items=len(item_ids),
        ),
        person_ids=np.asarray(rows["id"])[first_P],
        item_ids=np.asarray(item_ids),
    )


def catalogue_of(settings: Settings, item_ids: np.ndarray) -> Content | None:
    """Return what the landed catalogue says of these items, in their order; None when none has landed."""
    path = settings.landing / "items.parquet"
    if not path.is_file():
        return None
    place = {name: number for number, name in enumerate(columns.read(path, ["id"])["id"].to_pylist())}
    item_T = np.array([place.get(name, -1) for name in item_ids.tolist()], np.int64)
    return catalogue.renumbered(catalogue.of_file(path), item_T)


def _connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(config={"threads": settings.threads})
    con.execute("SET enable_progress_bar = false")  # it would be printed into what `--json` prints
    return con


def _events(settings: Settings) -> str:
    return f"read_parquet('{settings.landing}/events/*/events.parquet', hive_partitioning = false)"


def _label(settings: Settings) -> EventKind:
    with _connect(settings) as con:
        found = {kind for (kind,) in con.sql(f"SELECT DISTINCT kind FROM {_events(settings)}").fetchall()}
    for kind in LABELS:
        if kind in found:
            return kind
    raise InputError(
        f"nothing was taken in these data (kinds: {', '.join(sorted(found)) or 'none'}); bring {LABELS}"
    )


def _repeated(settings: Settings, kind: str) -> float:
    """Return the share of events whose person had taken that item before."""
    with _connect(settings) as con:
        row = con.execute(
            f"SELECT 1 - count(DISTINCT (person, item)) / count(*) FROM {_events(settings)}"
            " WHERE kind = $kind AND item IS NOT NULL",
            {"kind": kind},
        ).fetchone()
    return float(row[0]) if row else 0.0


def _names(source: Source, settings: Settings) -> dict[str, str]:
    """Return whom each pseudonym stands for: lists are for those who hold the data."""
    with _connect(settings) as con:
        found = con.sql(f"SELECT DISTINCT CAST(person AS VARCHAR) FROM ({source.events})").fetchall()
    return {pseudonym(name, settings.pseudonym_key): name for (name,) in found if name is not None}


def _next_item(history: History, path: Path) -> Named:
    """Ask for the targets of `test.parquet` beside the sessions."""
    test = path / "test.parquet" if path.is_dir() else path.with_name("test.parquet")
    if not test.is_file():
        raise InputError(f"{test} is missing: next-item asks for its targets (columns prefix, target)")
    try:
        table = columns.read(test, ["prefix", "target"])
    except (OSError, pa.ArrowInvalid) as fault:
        told = str(fault).splitlines()[0]
        raise InputError(f"{test} cannot be read ({told}); it needs the columns prefix and target") from fault
    number = {str(name): index for index, name in enumerate(history.item_ids)}
    prefix = table["prefix"].combine_chunks()
    item_N = np.array([number.get(str(item), -1) for item in prefix.flatten().to_pylist()], np.int32)
    length_P = np.diff(columns.array(prefix.offsets))
    person_N = np.repeat(np.arange(len(length_P), dtype=np.int32), length_P)
    target_P = np.array([number.get(str(item), -1) for item in table["target"].to_pylist()], np.int32)
    if (target_P < 0).any():
        raise InputError(
            f"{int((target_P < 0).sum())} targets of {test.name} are in no session; bring the whole catalogue"
        )
    known_N = item_N >= 0
    prefixes = Interactions(
        person_N=person_N[known_N],
        item_N=item_N[known_N],
        time_N=np.arange(len(item_N), dtype=np.int64)[known_N],
        weight_N=np.ones(int(known_N.sum()), np.float32),
        people=len(length_P),
        items=len(history.item_ids),
    )
    split = splits.next_item(history.interactions, prefixes, target_P)
    return Named(split=split, unit_ids=split.unit_P, item_ids=plain(history.item_ids))


def _write_dataset(settings: Settings, kind: EventKind, cut: str, back: int) -> None:
    """Write the dataset version that the loop would write, its holdout beginning at the cut, or some horizons before it."""
    from flows.snapshot import write_dataset

    first, holdout_from, last = _moments(settings, kind, cut)
    as_of = last.replace(microsecond=0) + timedelta(seconds=1)
    horizon = as_of - holdout_from
    holdout_from, as_of = holdout_from - back * horizon, as_of - back * horizon
    horizon_days = max(1, round(horizon / timedelta(days=1)))
    room = int((holdout_from - first) / timedelta(days=horizon_days))
    if room < 2:
        raise InputError(
            f"from {first.date()} to the cut at {holdout_from.date()} there is no room for a window of {horizon_days} days"
            " to learn labels from; cut later, or bring more history"
        )
    spec = FeatureSpec(
        service="recommendation_v1",
        keys=("person", "item"),
        label_kinds=(kind,),
        history_kinds=(kind,),
        horizon_days=horizon_days,
        cutoffs=min(MOST_CUTOFFS, room - 1),
    )
    last_day = as_of.date().isoformat()
    days = {day: part.sha256 for day, part in sorted(read_manifest(settings).days.items()) if day <= last_day}
    write_dataset(settings, spec, as_of, days, settings.home / DATASET, holdout_from=holdout_from)


def _moments(settings: Settings, kind: str, cut: str) -> tuple[datetime, datetime, datetime]:
    """Return the first event's time, the cut, and the last event's time."""
    share, day = _parsed(cut)
    with _connect(settings) as con:
        con.execute("SET TimeZone = 'UTC'")
        row = con.execute(
            f"SELECT min(time), max(time), quantile_disc(time, $share) FROM {_events(settings)}"
            " WHERE kind = $kind AND coalesce(quantity, 1) > 0",
            {"kind": kind, "share": share},
        ).fetchone()
    assert row is not None
    first, last, at_share = (moment.astimezone(UTC) for moment in row)
    holdout_from = day or at_share.replace(microsecond=0)
    if not first < holdout_from < last:
        raise InputError(
            f"the cut {cut} lies outside the data, {first.date()} to {last.date()}; choose one inside"
        )
    return first, holdout_from, last


def _parsed(cut: str) -> tuple[float, datetime | None]:
    """Return the cut as a share of the events (a half where it is a day), and as a day; InputError when it is neither."""
    try:
        share = float(cut)
    except ValueError:
        share = 0.0
    if 0 < share < 1:
        return share, None
    try:
        return 0.5, datetime.fromisoformat(cut).replace(tzinfo=UTC)
    except ValueError:
        raise InputError(
            f"the cut is {cut!r}; give a share of the events, as 0.9, or a day, as 2017-12-03"
        ) from None

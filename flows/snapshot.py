"""Writing a dataset version: everything that was known before `as_of`, in index numbers, with features as of each moment.

A pure function of the landed days: same days, same spec, same code, same bytes. Reading one back is models/dataset.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterfoil.contracts import ITEM
from counterfoil.contracts.field import SQL
from counterfoil.errors import InputError
from counterfoil.settings import Settings
from counterfoil.types import FeatureSpec

MOMENT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What the snapshot covers."""

    holdout_from: datetime
    rows: int
    people: int
    items: int
    first_time: datetime
    last_time: datetime


def moments(spec: FeatureSpec, as_of: datetime, holdout_from: datetime | None = None) -> tuple[datetime, ...]:
    """Return the training cut-offs, ascending, then the start of the holdout. Label windows never overlap the holdout.

    The holdout is the last horizon before `as_of`, unless told to begin elsewhere.
    """
    horizon = timedelta(days=spec.horizon_days)
    holdout_from = holdout_from or as_of - horizon
    return (*(holdout_from - horizon * back for back in range(spec.cutoffs, 0, -1)), holdout_from)


def write_dataset(
    settings: Settings,
    spec: FeatureSpec,
    as_of: datetime,
    days: Mapping[str, str],
    folder: Path,
    *,
    holdout_from: datetime | None = None,
) -> About:
    """Write a dataset folder and say what it covers. InputError when there is too little history for the spec's moments."""
    label_weights = _label_weights(spec)
    first = datetime.fromisoformat(min(days)).replace(tzinfo=UTC)
    when = moments(spec, as_of, holdout_from)
    if when[0] <= first:
        need = as_of - when[0]
        raise InputError(
            f"{spec.service} needs more than {need.days} days of history before {as_of.date()}, but the first landed day is"
            f" {first.date()}; land earlier days, or choose a later --as-of or a shorter horizon"
        )
    folder.mkdir(parents=True)
    with duckdb.connect(config={"threads": settings.threads}) as con:
        con.execute("SET enable_progress_bar = false")  # the caller tells its own
        about = _write_tables(con, settings, spec, when, as_of, days, folder)
    names = _write_features(settings, spec, when, as_of, folder)
    description = {
        "as_of_us": _microseconds(as_of),
        "holdout_from_us": _microseconds(when[-1]),
        "cutoffs_us": [_microseconds(moment) for moment in when[:-1]],
        "horizon_days": spec.horizon_days,
        "history_cap": spec.history_cap,
        "history_kinds": list(spec.history_kinds),
        "label_kinds": list(spec.label_kinds),
        "label_weights": label_weights,
        "feature_service": spec.service,
        "days": dict(days),
        **names,
    }
    (folder / "dataset.json").write_bytes(
        orjson.dumps(description, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
    )
    return about


def _write_tables(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    spec: FeatureSpec,
    when: tuple[datetime, ...],
    as_of: datetime,
    days: Mapping[str, str],
    folder: Path,
) -> About:
    files = [str(settings.landing / "events" / f"day={day}" / "events.parquet") for day in days]
    kinds = sorted({*spec.history_kinds, *spec.label_kinds})
    con.execute(
        "CREATE TEMP TABLE taken AS SELECT person, item, time, kind, quantity, price FROM read_parquet($files)"
        " WHERE item IS NOT NULL AND list_contains($kinds, kind) AND time < $as_of",
        {"files": files, "kinds": kinds, "as_of": as_of},
    )
    catalogue = settings.landing / "items.parquet"
    known = _no_items()
    if catalogue.is_file():  # by name: one that landed before a column came into the contract lacks it
        known = f"{known} UNION ALL BY NAME SELECT * FROM read_parquet('{catalogue}')"
    # Items that were sold but never described are part of the catalogue too; the gate has reported them.
    items = con.sql(
        f"SELECT t.id, k.* EXCLUDE (id) FROM (SELECT item AS id FROM taken UNION SELECT id FROM ({known})) t"
        f" LEFT JOIN ({known}) k ON k.id = t.id ORDER BY t.id"
    ).to_arrow_table()
    # Of what a shop knows of people, a dataset holds their segment alone: that is what figures are told apart by.
    described = settings.landing / "people.parquet"
    told = f"SELECT id, segment FROM read_parquet('{described}')" if described.is_file() else _nobody()
    people = con.sql(
        f"SELECT t.id, k.segment FROM (SELECT DISTINCT person AS id FROM taken) t LEFT JOIN ({told}) k USING (id) ORDER BY 1"
    ).to_arrow_table()
    con.register("items_in_order", items.append_column("number", pa.array(range(len(items)), pa.int32())))
    con.register("people_in_order", people.append_column("number", pa.array(range(len(people)), pa.int32())))
    interactions = con.sql(
        "SELECT p.number AS person, i.number AS item, t.time, t.kind, t.quantity, t.price FROM taken t"
        " JOIN people_in_order p ON p.id = t.person JOIN items_in_order i ON i.id = t.item"
        " ORDER BY p.number, t.time, i.number, t.kind, t.quantity, t.price"
    ).to_arrow_table()
    if not len(interactions):
        raise InputError(f"no {' or '.join(kinds)} events landed before {as_of.date()}; land some first")
    _write(
        interactions.set_column(2, "time", interactions["time"].cast(MOMENT)), folder / "interactions.parquet"
    )
    _write(items.select(list(ITEM.names)), folder / "items.parquet")
    _write(people, folder / "people.parquet")
    span = pc.min_max(interactions["time"]).as_py()
    return About(
        holdout_from=when[-1],
        rows=len(interactions),
        people=len(people),
        items=len(items),
        first_time=span["min"].astimezone(UTC),
        last_time=span["max"].astimezone(UTC),
    )


def _write_features(
    settings: Settings, spec: FeatureSpec, when: tuple[datetime, ...], as_of: datetime, folder: Path
) -> dict[str, list[str]]:
    """Build the partitions of every moment, ask Feast for them point in time, and write them in index numbers."""
    from feature_repo.build import build
    from feature_repo.transforms import ITEM_FEATURES, PAIR_FEATURES, PERSON_FEATURES

    _require_one_history(settings, spec)
    for moment in (*when, as_of):
        build(
            settings.landing,
            settings.features,
            moment,
            history_cap=spec.history_cap,
            history_kinds=spec.history_kinds,
            threads=settings.threads,
        )
    ids = {
        kind: pq.read_table(folder / f"{table}.parquet", columns=["id"])["id"].combine_chunks()
        for kind, table in (("person", "people"), ("item", "items"))
    }
    frames = _frames(settings, spec, when, as_of, ids["person"].to_pylist(), ids["item"].to_pylist())
    names = {"person": PERSON_FEATURES, "item": ITEM_FEATURES, "pair": PAIR_FEATURES}
    for kind, keys in (("person", ("person",)), ("item", ("item",)), ("pair", ("person", "item"))):
        _write(_numbered(frames[kind], keys, ids, names[kind]), folder / f"{kind}_features.parquet")
    return {f"{kind}_names": list(found) for kind, found in names.items()}


def _require_one_history(settings: Settings, spec: FeatureSpec) -> None:
    """Refuse a second kind of history in one home: partitions and online rows are told apart by moment and person alone.

    InputError names both; another home holds the other.
    """
    told = settings.features / "history.json"
    wanted = {"cap": spec.history_cap, "kinds": sorted(spec.history_kinds)}
    if told.is_file() and orjson.loads(told.read_bytes()) != wanted:
        raise InputError(
            f"{spec.service} wants histories of {wanted}, but this home's features are built of {told.read_text()};"
            " use another COUNTERFOIL_HOME for it, or give both use cases the same history"
        )
    told.parent.mkdir(parents=True, exist_ok=True)
    told.write_bytes(orjson.dumps(wanted))


def _frames(
    settings: Settings,
    spec: FeatureSpec,
    when: tuple[datetime, ...],
    as_of: datetime,
    people: list[str],
    items: list[str],
) -> dict[str, pa.Table]:
    """Ask Feast. Of pairs all that the capped histories hold, since serving computes all of them too."""
    from feature_repo import repo
    from feature_repo.offline import frames_at, pairs_at

    store = repo.apply(settings)
    pairs = pairs_at(settings, when, per_person=spec.history_cap)
    found = frames_at(settings, when, people, items, pairs, store=store)
    frames = {kind: pa.Table.from_pandas(frame, preserve_index=False) for kind, frame in found.items()}
    # Serving needs the items as they are at the as-of; of people it asks the online store.
    newest = frames_at(settings, (as_of,), [], items, _no_pairs(), store=store)["item"]
    frames["item"] = pa.concat_tables(
        [frames["item"], pa.Table.from_pandas(newest, preserve_index=False).cast(frames["item"].schema)]
    )
    return frames


def _numbered(
    frame: pa.Table, keys: tuple[str, ...], ids: dict[str, pa.Array], names: tuple[str, ...]
) -> pa.Table:
    """Return the frame with index numbers for ids, sorted; rows of anybody or anything outside the snapshot are left out."""
    numbers = {key: pc.index_in(frame[key], value_set=ids[key]).cast(pa.int32()) for key in keys}
    columns = {"moment": frame["moment"].cast(MOMENT), **numbers}
    columns |= {name: frame[name].cast(pa.float32()) for name in names}
    table = pa.table(columns)
    for key in keys:
        table = table.filter(pc.is_valid(table[key]))
    return table.sort_by([("moment", "ascending"), *((key, "ascending") for key in keys)])


def _label_weights(spec: FeatureSpec) -> dict[str, float]:
    """Return what each kind of label is worth. InputError for a weight of a kind that is no label, or not above zero."""
    faults = [
        f"{kind} weighs {weight!r}, but "
        + ("must weigh more than 0" if kind in spec.label_kinds else "is no label")
        for kind, weight in spec.label_weights.items()
        if kind not in spec.label_kinds or not 0 < weight < float("inf")
    ]
    if faults:
        raise InputError(
            f"the label weights of {spec.service} do not fit: {'; '.join(faults)}; mend the use case"
        )
    return {kind: float(spec.label_weights.get(kind, 1.0)) for kind in spec.label_kinds}


def _no_items() -> str:
    return (
        "SELECT "
        + ", ".join(f"CAST(NULL AS {SQL[f.type]}) AS {f.name}" for f in ITEM.fields)
        + " WHERE false"
    )


def _nobody() -> str:
    return "SELECT NULL::VARCHAR AS id, NULL::VARCHAR AS segment WHERE false"


def _no_pairs() -> pa.Table:
    return pa.schema([("moment", MOMENT), ("person", pa.string()), ("item", pa.string())]).empty_table()


def _write(table: pa.Table, path: Path) -> None:
    """Write Parquet whose bytes depend on the rows alone."""
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd", row_group_size=500_000)


def _microseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))

"""Point-in-time frames for training, by Feast's historical retrieval through the training service; no transform here.

Which pairs a frame should hold is chosen by `pairs_at`; what they were like at each moment is Feast's answer.
"""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.errors import InputError
from counterfoil.settings import Settings
from feature_repo.build import MOMENT, partition, stamp

if TYPE_CHECKING:
    from feast import FeatureStore


def frames_at(
    settings: Settings,
    moments: Sequence[datetime],
    people: Sequence[str],
    items: Sequence[str],
    pairs: pa.Table | None = None,
    store: "FeatureStore | None" = None,
) -> dict[str, pd.DataFrame]:
    """Return what was known of people, items and pairs at each moment, as frames `person`, `item` and `pair`.

    Rows are in the caller's order: moments outside, people (items) inside; pairs as given (columns person, item, moment; by
    default `pairs_at`). Columns are `moment`, the keys and float32 features, NaN where nothing was known or the row is too old.
    Raises InputError when a moment was not built, since older features would answer in its place.
    """
    from feature_repo.definitions import TRAINING
    from feature_repo.repo import open_store

    store = store or open_store(settings)
    asked = {
        "person": _cross(moments, "person", people),
        "item": _cross(moments, "item", items),
        "pair": pairs_at(settings, moments) if pairs is None else pairs.select(["moment", "person", "item"]),
    }
    for moment in pc.unique(asked["pair"]["moment"]).to_pylist() + list(moments):
        _require(settings, moment)
    views = store.get_feature_service(TRAINING).feature_view_projections
    return {
        view.name: history(store, asked[view.name], [f"{view.name}:{field.name}" for field in view.features])
        for view in views
    }


def pairs_at(settings: Settings, moments: Sequence[datetime], per_person: int = 150) -> pa.Table:
    """Return the pairs that are worth asking for at each moment: per person those bought most often, then most recently.

    Columns moment, person, item; sorted by them. Raises InputError when a moment was not built.
    """
    parts = []
    for moment in moments:
        _require(settings, moment)
        bounds = {"path": str(partition(settings.features, "pair", moment)), "count": per_person}
        with duckdb.connect(config={"threads": settings.threads}) as con:
            keys = con.sql(_TOP_PAIRS, params=bounds).to_arrow_table()
        parts.append(keys.add_column(0, "moment", _repeat(moment, len(keys))))
    return pa.concat_tables(parts)


def history(store: "FeatureStore", asked: pa.Table, features: list[str]) -> pd.DataFrame:
    """Ask Feast for features (`view:name`) at the rows of `asked` (moment and keys), in the order of the question.

    The latest row at or before the moment counts, of equal ones the one created last; NaN when it is older than the TTL.
    """
    keys = [name for name in asked.column_names if name != "moment"]
    entity_df = asked.rename_columns({"moment": "event_timestamp"}).to_pandas()
    entity_df["row"] = range(len(entity_df))  # nothing else promises an order
    with _engine(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # ibis calls what DuckDB has renamed
        table = store.get_historical_features(entity_df=entity_df, features=features).to_arrow()
    table = table.sort_by("row").rename_columns({"event_timestamp": "moment"})
    return table.select(["moment", *keys, *(feature.split(":")[1] for feature in features)]).to_pandas()


@contextmanager
def _engine() -> Iterator[None]:
    """Give Feast's DuckDB store, which asks ibis for a backend of the whole process, one of its own that is closed afterwards.

    Left open it keeps the question in memory, and the interpreter ends with pages of warnings about leaks.
    """
    import ibis

    with _ONE_AT_A_TIME:
        backend, before = ibis.duckdb.connect(), ibis.options.default_backend
        ibis.set_backend(backend)
        try:
            yield
        finally:
            ibis.options.default_backend = before
            backend.disconnect()


_ONE_AT_A_TIME = threading.Lock()
_TOP_PAIRS = """
SELECT person, item FROM read_parquet($path)
QUALIFY row_number() OVER (PARTITION BY person ORDER BY times_bought DESC, days_since_last, item) <= $count
ORDER BY person, item
"""


def _require(settings: Settings, moment: datetime) -> None:
    if not partition(settings.features, "pair", moment).is_file():
        raise InputError(
            f"no features were built for {stamp(moment)}; call feature_repo.build.build for it first"
        )


def _repeat(moment: datetime, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(moment.astimezone(UTC), MOMENT), rows)


def _cross(moments: Sequence[datetime], key: str, ids: Sequence[str]) -> pa.Table:
    """Return every id at every moment, moments outside."""
    column = pa.array(ids, pa.string())
    blocks = [pa.table({"moment": _repeat(moment, len(column)), key: column}) for moment in moments]
    return pa.concat_tables(blocks)

"""Items that a batch brought are found in stored datasets, also in files of before a column came to be."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.contracts import ITEM
from counterfoil.errors import IntegrityError
from counterfoil.types import Dataset
from flows.contents import Library
from flows.place import Place, place_of
from tests.bento_shop import settings_of

SINCE = ["seller", "available_until", "hidden"]
MILK = {"id": "milk", "title": "Milk", "in_stock": 1}
SOLD = {**MILK, "seller": "Acme", "hidden": 0}
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)


def items(path: Path, row: dict[str, Any], *, before: bool = False) -> Path:
    """Write a file of items; `before` as an earlier version did, without the columns that came since."""
    table = pa.Table.from_pylist([row, {"id": "bread"}], ITEM.arrow())
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.drop_columns(SINCE) if before else table, path)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of(settings_of(tmp_path / "home"))


def library(place: Place, folder: Path) -> Library:
    """Return a library of the dataset in a folder."""
    about = {
        "history_kinds": ["purchase"],
        "label_kinds": ["purchase"],
        "days": {"2026-02-28": "0" * 64},
    }
    (folder / "dataset.json").write_bytes(orjson.dumps(about))
    stored = place.store.put(folder)
    dataset = Dataset(
        use_case="small", address=stored.address, sha256=stored.sha256, as_of=AS_OF, holdout_from=AS_OF, rows=1, people=1,
        items=2, first_time=AS_OF, last_time=AS_OF, feature_service="s", verdicts=(), code_version="c",
    )  # fmt: skip
    return Library(place, [dataset])


@pytest.mark.parametrize(
    ("brought", "stored", "found"),
    [
        ((MILK, True), (MILK, True), True),
        ((MILK, True), (MILK, False), True),
        ((MILK, False), (MILK, True), True),
        ((SOLD, False), (SOLD, False), True),
        ((SOLD, False), (MILK, True), False),
        ((MILK, True), (SOLD, False), False),
    ],
)
def test_a_row_is_the_same_row_whether_or_not_its_file_has_the_column(
    place: Place,
    tmp_path: Path,
    brought: tuple[dict[str, Any], bool],
    stored: tuple[dict[str, Any], bool],
    found: bool,
) -> None:
    row, before = brought
    table = pa.Table.from_pylist([row], ITEM.arrow())
    file = tmp_path / "brought.parquet"
    pq.write_table(table.drop_columns(SINCE) if before else table, file)
    items(tmp_path / "dataset" / "items.parquet", stored[0], before=stored[1])
    held = library(place, tmp_path / "dataset").by_items_of(file, ())
    assert {name: kinds for name, kinds in held.items() if kinds} == (
        {name: {"items"} for name in held} if found else {}
    )
    assert bool(held) == found


def test_a_file_that_is_no_table_is_an_error(place: Place, tmp_path: Path) -> None:
    items(tmp_path / "dataset" / "items.parquet", MILK)
    (tmp_path / "brought.parquet").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="cannot be read"):
        library(place, tmp_path / "dataset").by_items_of(tmp_path / "brought.parquet", ())

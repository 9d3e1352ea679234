"""The public sets as they are cut before they are measured on."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.sets import first_purchases
from counterfoil.errors import InputError


def test_first_purchases_leave_out_what_was_given_back_the_unknown_and_the_rare(tmp_path: Path) -> None:
    buyers = [(person, "common", person, 1) for person in range(5)]
    again, back, rare, unknown = (
        (0, "common", 9, 1),
        (5, "common", 2, -1),
        (0, "rare", 3, 1),
        (None, "common", 1, 1),
    )
    rows = [again, *buyers, back, rare, unknown]
    names = ("CustomerID", "StockCode", "InvoiceDate", "Quantity")
    table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})
    pq.write_table(
        table.set_column(2, "InvoiceDate", table["InvoiceDate"].cast(pa.timestamp("s"))),
        tmp_path / "lines.parquet",
    )
    found = pq.read_table(first_purchases(tmp_path / "lines.parquet", tmp_path)).to_pylist()
    assert [(row["person"], row["item"], row["time"].second) for row in found] == [
        (n, "common", n) for n in range(5)
    ]


def test_a_missing_set_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no .*lines\.parquet; give the path of a file or folder that exists"
    ):
        first_purchases(tmp_path / "lines.parquet", tmp_path)

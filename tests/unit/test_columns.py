"""Parquet columns as arrays: the same numbers as Arrow gives, one group of rows at a time, and no pandas for it."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models import columns

READ = """
import sys
from pathlib import Path
from models import columns
table = columns.read(Path(sys.argv[1]))
print([columns.array(table[name]).tolist() for name in table.column_names], "pandas" in sys.modules)
"""


def moment(day: int) -> datetime:
    return datetime(2025, 1, day, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        {"moment": moment(1 + n // 4), "number": n, "said": f"t{n}", "sold": n % 2 == 0} for n in range(10)
    ]
    path = tmp_path / "file.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
    return path


def test_columns_come_as_arrays_of_their_kind_and_without_pandas(tmp_path: Path) -> None:
    path = tmp_path / "one.parquet"
    pq.write_table(
        pa.table({"whole": [1, 2], "half": [0.5, 1.5], "sold": [True, False], "said": ["a", None]}), path
    )
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[1, 2], [0.5, 1.5], [True, False], ['a', None]] False"


def test_several_parts_and_none_are_one_array() -> None:
    assert columns.array(pa.chunked_array([[1, 2], [3]])).tolist() == [1, 2, 3]
    assert columns.array(pa.chunked_array([], pa.float32())).dtype == np.float32
    assert columns.array(pa.chunked_array([[True], [False, True]])).tolist() == [True, False, True]


def test_a_missing_number_is_refused() -> None:
    with pytest.raises(TypeError):
        columns.array(pa.array([1, None]))


def test_rows_of_one_value_are_those_of_all_groups_that_hold_it(file: Path) -> None:
    for day, numbers in ((1, [0, 1, 2, 3]), (2, [4, 5, 6, 7]), (3, [8, 9]), (4, [])):
        found = columns.read_where(file, "moment", pa.scalar(moment(day), pa.timestamp("us", tz="UTC")))
        assert found["number"].to_pylist() == numbers
        assert found.schema.equals(pq.read_schema(file))


def test_what_is_asked_for_and_not_there_is_named(file: Path) -> None:
    assert columns.read(file, ["said", "number"]).column_names == ["said", "number"]
    with pytest.raises(pa.ArrowInvalid, match="no column 'price'; there are moment, number, said, sold"):
        columns.read(file, ["number", "price"])
    with pytest.raises(FileNotFoundError):
        columns.read(file.with_name("gone.parquet"))

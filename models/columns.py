"""Columns of Parquet files as numpy arrays.

Read past Arrow's data sets and its own `to_numpy`, both of which import pandas: 25 MB and half a second in each process.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def read(path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """Return these columns of a file, all by default.

    FileNotFoundError when it is gone, ArrowInvalid when it is no Parquet or lacks a column.
    """
    with pq.ParquetFile(path) as file:
        if absent := set(names or ()) - set(file.schema_arrow.names):
            raise pa.ArrowInvalid(
                f"no column {min(absent)!r}; there are {', '.join(file.schema_arrow.names)}"
            )
        return file.read(None if names is None else list(names))


def read_where(path: Path, name: str, value: pa.Scalar) -> pa.Table:
    """Return the rows whose column `name` is `value`; a group of rows that cannot hold it is not read."""
    with pq.ParquetFile(path) as file:
        kept = [_matching(file, group, name, value) for group in range(file.num_row_groups)]
        return pa.concat_tables([file.schema_arrow.empty_table(), *(one for one in kept if len(one))])


def array(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Return a column as an array, not to be written to: numbers as they are, bools as bool, texts as objects.

    TypeError for numbers of which one is missing: fill it first.
    """
    held = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_boolean(held.type):
        return np.from_dlpack(held.cast(pa.uint8())).view(bool)
    if pa.types.is_integer(held.type) or pa.types.is_floating(held.type):
        return np.from_dlpack(held)
    out = np.empty(len(held), object)
    out[:] = held.to_pylist()
    return out


def _matching(file: pq.ParquetFile, group: int, name: str, value: pa.Scalar) -> pa.Table:
    place = file.schema_arrow.names.index(name)
    said = file.metadata.row_group(group).column(place).statistics
    if said is not None and said.has_min_max and not said.min <= value.as_py() <= said.max:
        return file.schema_arrow.empty_table()
    table = file.read_row_group(group)
    return table.filter(pc.equal(table[name], value))

"""What a catalogue says of its items, read column by column when a model asks for it.

Most models never ask, and a hundred thousand descriptions take a quarter of a gigabyte; so neither a fit nor a server reads them
before a family wants them. Columns are called as in the item contract.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models import columns
from models.data import Content

TEXTS = ("title", "text", "category", "brand", "image")
PATH = " > "  # between the levels of a category
REPEATED = ("category", "brand")  # few are said often: each is kept once


class LazyContent(Content):
    """Content of `items` items whose columns come from `read(name)` when first asked for, and are kept."""

    def __init__(self, items: int, read: Callable[[str], Any]) -> None:
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "_read", read)

    def __len__(self) -> int:
        return int(self._items)

    def __getattr__(self, name: str) -> Any:
        """Read a column."""
        column, _, shape = name.rpartition("_")
        if shape != "I" or column not in (*TEXTS, "price"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        value = self._read(column)
        object.__setattr__(self, name, value)
        return value


def of_file(path: Path) -> Content:
    """Return what an `items.parquet` says, in its order; a column that it lacks says nothing.

    The file must stay where it is: OSError when it is gone by the time that a column is asked for.
    """
    held = frozenset(pq.read_schema(path).names)
    items = pq.read_metadata(path).num_rows

    def read(name: str) -> Any:
        if name not in held:
            return np.full(items, np.nan, np.float32) if name == "price" else ("",) * items
        column = columns.read(path, [name])[name]
        if name == "price":
            return columns.array(pc.fill_null(column.cast(pa.float32()), np.nan))
        column = pc.fill_null(column.cast(pa.string()), "")
        if name not in REPEATED:
            return tuple(column.to_pylist())
        coded = column.combine_chunks().dictionary_encode()
        words = coded.dictionary.to_pylist()
        return tuple(words[code] for code in coded.indices.to_pylist())

    return LazyContent(items, read)


def category_codes(category_I: Sequence[str | None]) -> np.ndarray:
    """Number the first two levels of categories in sorted order, int32 [I]; -1 where there is none."""
    levels = [PATH.join(text.split(PATH)[:2]) if text else None for text in category_I]
    codes = {name: code for code, name in enumerate(sorted({name for name in levels if name is not None}))}
    return np.array([-1 if name is None else codes[name] for name in levels], np.int32)


def renumbered(content: Content, item_T: np.ndarray) -> Content:
    """Return what `content` says of the items `item_T`, in that order; nothing where the number is -1."""

    def read(name: str) -> Any:
        said = getattr(content, f"{name}_I")
        if name == "price":
            return np.where(item_T >= 0, said[np.maximum(item_T, 0)], np.float32(np.nan))
        return tuple(said[item] if item >= 0 else "" for item in item_T.tolist())

    return LazyContent(len(item_T), read)

"""Named columns with one value per item, learned up to a moment and handed to candidates. What they mean: habits.py, trends.py.

Shapes: I items, C columns, N candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterfoil.errors import IntegrityError
from models import artefact


@dataclass(frozen=True, kw_only=True)
class ItemTable:
    """Names and values, float32 [I, C], so that what is known of one item lies together; a later item has NaN everywhere."""

    names: tuple[str, ...]
    value_IC: np.ndarray

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray]) -> "ItemTable":
        """Gather columns [I]."""
        return cls(names=tuple(columns), value_IC=np.column_stack(list(columns.values())).astype(np.float32))

    @property
    def items(self) -> int:
        """Number of items that were known."""
        return len(self.value_IC)

    def give(self, item_N: np.ndarray, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
        """Return the columns of these names (None: all) for these items, float32 [N] each."""
        wanted = self.names if names is None else names
        known_N = np.flatnonzero(item_N < self.items)
        value_NC = np.full((len(item_N), len(wanted)), np.nan, np.float32)
        if names is None:
            value_NC[known_N] = self.value_IC[item_N[known_N]]
        else:
            column_C = [self.names.index(name) for name in names]
            value_NC[known_N] = self.value_IC[item_N[known_N, None], column_C]
        return dict(zip(wanted, value_NC.T, strict=True))

    def save(self, path: Path) -> None:
        """Write the values as npy; the names are kept by whoever saves."""
        artefact.write_array(path, self.value_IC)


def load(path: Path, names: tuple[str, ...]) -> ItemTable:
    """Read what `save` wrote; IntegrityError when it has another number of columns than names."""
    value_IC = artefact.read_array(path, np.float32, ndim=2)
    if value_IC.shape[1] != len(names):
        raise IntegrityError(
            f"{path.name} holds {value_IC.shape[1]} columns but {len(names)} are named beside it; restore the artefact"
        )
    return ItemTable(names=names, value_IC=value_IC)

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
    """Names and values, float32 [C, I]; an item that came later has NaN everywhere."""

    names: tuple[str, ...]
    value_CI: np.ndarray

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray]) -> "ItemTable":
        """Gather columns [I]."""
        return cls(names=tuple(columns), value_CI=np.stack(list(columns.values())).astype(np.float32))

    @property
    def items(self) -> int:
        """Number of items that were known."""
        return self.value_CI.shape[1]

    def column(self, name: str) -> np.ndarray:
        """Return one column, float32 [I]."""
        return self.value_CI[self.names.index(name)]

    def give(self, item_N: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns for these items, float32 [N] each."""
        known_N = item_N < self.items
        value_CN = np.full((len(self.names), len(item_N)), np.nan, np.float32)
        value_CN[:, known_N] = self.value_CI[:, item_N[known_N]]
        return dict(zip(self.names, value_CN, strict=True))

    def save(self, path: Path) -> None:
        """Write the values as npy; the names are kept by whoever saves."""
        artefact.write_array(path, self.value_CI)


def load(path: Path, names: tuple[str, ...]) -> ItemTable:
    """Read what `save` wrote; IntegrityError when it has another number of columns than names."""
    value_CI = artefact.read_array(path, np.float32, ndim=2)
    if len(value_CI) != len(names):
        raise IntegrityError(
            f"{path.name} holds {len(value_CI)} columns but {len(names)} are named beside it; restore the artefact"
        )
    return ItemTable(names=names, value_CI=value_CI)

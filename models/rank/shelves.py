"""Shelves: where an item stands (its category, the department above it, its brand) and what it costs. Learned once, no person.

Shapes: I items, L levels, N candidates.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from models import artefact
from models.catalogue import PATH
from models.data import Content


@dataclass(frozen=True, kw_only=True)
class Shelves:
    """A code per level and item, int32 [L, I], -1 where there is none; the logarithm of the price, float32 [I], NaN likewise."""

    levels: tuple[str, ...]
    code_LI: np.ndarray
    price_I: np.ndarray

    @property
    def items(self) -> int:
        """Number of items that were known."""
        return len(self.price_I)

    @property
    def category_I(self) -> np.ndarray:
        """The finest level, int32 [I]; empty where items have no category."""
        return (
            self.code_LI[self.levels.index("category")]
            if "category" in self.levels
            else np.zeros(0, np.int32)
        )

    def codes(self, item_N: np.ndarray) -> np.ndarray:
        """Return 1 + the code at each level, int32 [N, L]; 0 where an item has none or came after the fit."""
        return self._codes[np.minimum(item_N, self.items)]

    def price(self, item_N: np.ndarray) -> np.ndarray:
        """Return the logarithm of the price, float32 [N]; NaN also where an item came after the fit."""
        return self._prices[np.minimum(item_N, self.items)]

    @cached_property
    def most(self) -> int:
        """The highest number that `codes` gives."""
        return int(self._codes.max(initial=0))

    @cached_property
    def _codes(self) -> np.ndarray:
        """Codes as they are handed out, those of one item together, and a last row for items that came later."""
        return np.ascontiguousarray(np.pad(self.code_LI + 1, ((0, 0), (0, 1))).T)

    @cached_property
    def _prices(self) -> np.ndarray:
        return np.append(self.price_I, np.float32(np.nan))

    def save(self, folder: Path) -> None:
        """Write `shelves.npy` and `price.npy`; the levels are kept by whoever saves."""
        artefact.write_array(folder / "shelves.npy", self.code_LI)
        artefact.write_array(folder / "price.npy", self.price_I)


def load(folder: Path, levels: tuple[str, ...]) -> Shelves:
    """Read what `save` wrote."""
    return Shelves(
        levels=levels,
        code_LI=artefact.read_array(folder / "shelves.npy", np.int32, ndim=2),
        price_I=artefact.read_array(folder / "price.npy", np.float32),
    )


def learn(items: int, category_I: np.ndarray, content: Content | None) -> Shelves:
    """Read the levels that tell items apart; `category_I` may be empty, and wins over the content's categories."""
    codes: dict[str, np.ndarray] = {"category": category_I}
    price_I = np.full(items, np.nan, np.float32)
    if content is not None:
        codes["department"] = _codes(
            [path.split(PATH)[0] if PATH in path else "" for path in content.category_I]
        )
        codes["brand"] = _codes(content.brand_I)
        with np.errstate(divide="ignore", invalid="ignore"):
            price_I = np.log(np.where(content.price_I > 0, content.price_I, np.nan)).astype(np.float32)
    told = {name: code_I for name, code_I in codes.items() if len(np.unique(code_I[code_I >= 0])) > 1}
    return Shelves(
        levels=tuple(told),
        code_LI=np.stack(list(told.values())).astype(np.int32) if told else np.zeros((0, items), np.int32),
        price_I=price_I,
    )


def _codes(names: list[str] | tuple[str, ...]) -> np.ndarray:
    """Number names in sorted order; -1 for the empty one."""
    ids, code_I = np.unique(np.array(names, dtype=str), return_inverse=True)
    return (code_I - 1 if len(ids) and ids[0] == "" else code_I).astype(np.int32)

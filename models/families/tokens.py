"""What is said of items as tokens: levels of the category, brand, price band, words of the title. Which ones is learned once.

Shapes: C items, V tokens, E edges between price bands.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from counterfoil.errors import IntegrityError
from models import artefact
from models.data import Content
from models.families.attributes import attributes

BANDS = 10  # that hold equally many items
LEAST = 2  # items that must share a token, or it says nothing of others
WORD = re.compile(r"\w+")


class Tokens:
    """Names of the tokens, and the edges of the price bands, float32 [E]."""

    def __init__(self, names: list[str], edge_E: np.ndarray) -> None:
        self.names = names
        self.edge_E = edge_E
        self._column = {name: column for column, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.names)

    def of(self, content: Content, item_C: np.ndarray) -> csr_matrix:
        """Return which tokens are said of each item, rows of length one (or empty), float32 sparse [C, V]."""
        found = [
            sorted({self._column[name] for name in _said(content, item, self.edge_E) if name in self._column})
            for item in item_C.tolist()
        ]
        count_C = np.array([len(columns) for columns in found], np.int64)
        column_N = np.array([column for columns in found for column in columns], np.int32)
        weight_N = np.repeat(1.0 / np.sqrt(np.maximum(count_C, 1)), count_C).astype(np.float32)
        indptr = np.concatenate([[0], np.cumsum(count_C)])
        return csr_matrix((weight_N, column_N, indptr), shape=(len(item_C), len(self.names)))

    def save(self, folder: Path) -> None:
        """Write `tokens.json` and `edge.npy`."""
        artefact.write_json(folder / "tokens.json", {"names": self.names})
        artefact.write_array(folder / "edge.npy", self.edge_E)


def learned(content: Content | None, most: int) -> Tokens:
    """Return the `most` frequent tokens of a catalogue that several items share; none where nothing is said."""
    if content is None:
        return Tokens([], np.zeros(0, np.float32))
    price_I = content.price_I[np.isfinite(content.price_I)]
    cuts = np.linspace(0, 1, BANDS + 1)[1:-1]
    edge_E = (np.unique(np.quantile(price_I, cuts)) if len(price_I) else np.zeros(0)).astype(np.float32)
    count: Counter[str] = Counter()
    for item in range(len(content)):
        count.update(set(_said(content, item, edge_E)))
    shared = sorted((-times, name) for name, times in count.items() if times >= LEAST)
    return Tokens(sorted(name for _, name in shared[:most]), edge_E)


def load(folder: Path) -> Tokens:
    """Read what `save` wrote; IntegrityError when it is not that."""
    names = artefact.read_json(folder / "tokens.json").get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise IntegrityError("tokens.json holds no list of names; restore the artefact by its digest")
    return Tokens(names, artefact.read_array(folder / "edge.npy", np.float32))


def _said(content: Content, item: int, edge_E: np.ndarray) -> Iterator[str]:
    yield from attributes(content, item, edge_E)
    for word in WORD.findall(content.title_I[item].lower()):
        yield "word " + word

"""Which items' vectors have the largest inner products with a person's: exact while they are few, through a graph beyond.

Up to EXACT items every product is computed. Beyond, usearch's HNSW (Malkov & Yashunin, TPAMI 2020) proposes candidates, whose
true products rank them. Such a graph wants distances, so vectors are made equal in length by one more dimension (Bachrach et al.,
RecSys 2014), after two steps that this needs to work well: the mean is taken off, which takes the same from all of a person's
scores, and the longest vectors, which would leave all others alike, stay outside; their products are all computed.
What a question leaves out is met by asking for more, and by every product where that is not enough. Built on one thread, twice
the same bytes. Shapes: P people, I items, D width, K list length, A allowed items, G items in the graph, C candidates.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterfoil.errors import IntegrityError
from models import artefact
from models.blas import one_thread
from models.family import best_of

if TYPE_CHECKING:
    from usearch.index import Index

EXACT = 100_000  # items; up to here computing every product takes about a millisecond per person
CONNECTIVITY, CAREFUL, WIDE = (
    16,
    128,
    512,
)  # links per vector; candidates looked at when building, and when asked
MARGIN = 3  # times as many candidates as are wanted
LONGEST = 0.02  # share of the vectors that stay outside of the graph
PART_BYTES = 64 * 2**20  # of products at a time


class Vectors:
    """Vectors of items, float32 [I, D], and a graph over the first ones of them where they are more than `exact`."""

    def __init__(self, vector_ID: np.ndarray, *, exact: int = EXACT, graph: "Index | None" = None) -> None:
        self.vector_ID = np.ascontiguousarray(vector_ID, np.float32)
        self.exact = exact
        self.graph = graph
        if graph is None and len(vector_ID) > exact:
            self.graph = _built(self.vector_ID)
        inside_I = np.zeros(len(vector_ID), bool)
        if self.graph is not None:
            inside_I[np.asarray(self.graph.keys).astype(np.int64)] = True
        self._outside_C = np.flatnonzero(~inside_I)

    def __len__(self) -> int:
        return len(self.vector_ID)

    @property
    def whole(self) -> "Vectors":
        """The same vectors, without a graph: every product is computed."""
        return Vectors(self.vector_ID, exact=len(self))

    def extended(self, vector_CD: np.ndarray) -> "Vectors":
        """Return these vectors and more behind them; the graph stays as it is, and the products of what is new are computed."""
        exact = max(self.exact, len(self) + len(vector_CD)) if self.graph is None else self.exact
        return Vectors(np.concatenate([self.vector_ID, vector_CD]), exact=exact, graph=self.graph)

    def search(
        self,
        person_PD: np.ndarray,
        k: int,
        *,
        allowed_I: np.ndarray | None = None,
        exclude: Sequence[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return each person's `k` best items, int32 [P, K], and their inner products, float32 [P, K], best first.

        Ties go to the lower index; -1 and -inf where there are no more.
        """
        k = min(k, len(self))
        item_PK = np.full((len(person_PD), k), -1, np.int32)
        score_PK = np.full((len(person_PD), k), -np.inf, np.float32)
        allowed_A = None if allowed_I is None else np.flatnonzero(allowed_I)
        available = len(self) if allowed_A is None else len(allowed_A)
        short_P = np.ones(len(person_PD), bool)
        with one_thread():
            if self.graph is not None and available > self.exact:
                for row, item_C in enumerate(self._candidates(person_PD, k, available, exclude)):
                    kept_C = item_C if allowed_I is None else item_C[allowed_I[item_C]]
                    kept_C = kept_C if exclude is None else kept_C[~np.isin(kept_C, exclude[row])]
                    short_P[row] = len(kept_C) < k
                    _fill(item_PK[row], score_PK[row], kept_C, self.vector_ID[kept_C] @ person_PD[row])
            for row, score_A in self._products(person_PD, np.flatnonzero(short_P), allowed_A):
                if exclude is not None:
                    score_A[_places(exclude[row], allowed_A)] = -np.inf
                _fill(item_PK[row], score_PK[row], allowed_A, score_A)
        return item_PK, score_PK

    def save(self, folder: Path) -> None:
        """Write `vectors.npy`, `index.json`, and the graph's bytes as `graph.npy` where there is one."""
        graph_B = (
            np.zeros(0, np.uint8) if self.graph is None else np.frombuffer(self.graph.save() or b"", np.uint8)
        )
        artefact.write_array(folder / "vectors.npy", self.vector_ID)
        artefact.write_json(folder / "index.json", {"exact": self.exact, "graph": _digest(graph_B)})
        if len(graph_B):
            artefact.write_array(folder / "graph.npy", graph_B)

    def _candidates(
        self, person_PD: np.ndarray, k: int, available: int, exclude: Sequence[np.ndarray] | None
    ) -> Iterator[np.ndarray]:
        """Yield per person the items to look at, ascending: the graph's nearest, and all that lie outside of it."""
        assert self.graph is not None
        without = max((len(items) for items in exclude or ()), default=0)
        count = min(len(self.graph), MARGIN * int(np.ceil((k + without) * len(self) / available)))
        self.graph.expansion_search = max(WIDE, count)  # type: ignore[misc]
        for asked_D in np.pad(person_PD.astype(np.float32), ((0, 0), (0, 1))):
            found = self.graph.search(asked_D, count, threads=1)
            yield np.sort(np.concatenate([found.keys.astype(np.int64), self._outside_C]))

    def _products(
        self, person_PD: np.ndarray, rows: np.ndarray, allowed_A: np.ndarray | None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield these rows with their products with all allowed items, float32 [A], in blocks of bounded memory."""
        if not len(rows):
            return
        vector_AD = self.vector_ID if allowed_A is None else self.vector_ID[allowed_A]
        size = max(1, PART_BYTES // (4 * max(1, len(vector_AD))))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield from zip(part.tolist(), person_PD[part].astype(np.float32) @ vector_AD.T, strict=True)


def load(folder: Path) -> Vectors:
    """Read what `save` wrote; IntegrityError when the graph's bytes are not those that were written (they would crash)."""
    about = artefact.read_json(folder / "index.json")
    vector_ID = artefact.read_array(folder / "vectors.npy", np.float32, ndim=2)
    exact, held = about.get("exact"), len(vector_ID)
    if not isinstance(exact, int):
        raise IntegrityError(f"index.json gives {exact!r} for exact; restore the artefact by its digest")
    if held <= exact:
        return Vectors(vector_ID, exact=exact)
    graph_B = artefact.read_array(folder / "graph.npy", np.uint8)
    if _digest(graph_B) != about.get("graph"):
        raise IntegrityError("graph.npy is not what index.json names; restore the artefact by its digest")
    graph = _empty(vector_ID.shape[1] + 1)
    graph.load(graph_B.tobytes())
    return Vectors(vector_ID, exact=exact, graph=graph)


def _built(vector_ID: np.ndarray) -> "Index":
    centred_ID = vector_ID - vector_ID.mean(axis=0, dtype=np.float64).astype(np.float32)
    length_I = np.linalg.norm(centred_ID, axis=1)
    order_I = np.argsort(length_I, kind="stable")
    item_G = np.sort(order_I[: len(order_I) - int(np.ceil(LONGEST * len(order_I)))])
    most = float(length_I[item_G].max())
    rest_G = np.sqrt(np.maximum(most**2 - length_I[item_G] ** 2, 0.0))
    graph = _empty(vector_ID.shape[1] + 1)
    equal_GD = np.column_stack([centred_ID[item_G], rest_G]) / np.float32(max(most, 1e-12))
    graph.add(item_G.astype(np.uint64), equal_GD.astype(np.float32), threads=1)
    return graph


def _empty(width: int) -> "Index":
    from usearch.index import Index

    return Index(
        ndim=width,
        metric="ip",
        dtype="f32",
        connectivity=CONNECTIVITY,
        expansion_add=CAREFUL,
        expansion_search=WIDE,
    )


def _fill(item_K: np.ndarray, score_K: np.ndarray, item_C: np.ndarray | None, score_C: np.ndarray) -> None:
    """Write the best of the candidates, ascending items, into a row; without `item_C` they are numbered as they lie."""
    best = best_of(score_C, len(item_K))
    item_K[: len(best)] = best if item_C is None else item_C[best]
    score_K[: len(best)] = score_C[best]


def _places(item_N: np.ndarray, allowed_A: np.ndarray | None) -> np.ndarray:
    """Return where these items lie among the allowed ones."""
    if allowed_A is None:
        return item_N
    place_N = np.searchsorted(allowed_A, item_N)
    inside_N = place_N < len(allowed_A)
    place_N, item_N = place_N[inside_N], item_N[inside_N]
    return place_N[allowed_A[place_N] == item_N]


def _digest(graph_B: np.ndarray) -> str:
    return hashlib.sha256(graph_B.tobytes()).hexdigest()

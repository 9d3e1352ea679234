"""What families learn from and are asked with: plain arrays, no frame library, no framework of the platform.

Names carry shapes: P people, I items, N interactions, K list length, F features.
People and items are dense indices; the ids that they stand for lie in the dataset's `people.parquet` and `items.parquet`.
Times are microseconds since 1970, UTC, int64.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.sparse import csr_matrix

DAY_US = 86_400_000_000


def spans(start_C: np.ndarray, count_C: np.ndarray) -> np.ndarray:
    """Return start, start + 1, .. for every span, one span after another, int64."""
    offset_C = np.cumsum(count_C) - count_C
    return np.arange(int(count_C.sum())) + np.repeat(start_C - offset_C, count_C)


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """Who took what when: parallel arrays sorted by (person, time, item). `weight_N` is the quantity, above zero."""

    person_N: np.ndarray  # int32
    item_N: np.ndarray  # int32
    time_N: np.ndarray  # int64, microseconds
    weight_N: np.ndarray  # float32
    people: int
    items: int

    def __len__(self) -> int:
        return len(self.item_N)

    @cached_property
    def indptr(self) -> np.ndarray:
        """Row starts, int64 [P+1]: person p's interactions are indptr[p]:indptr[p+1]."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.person_N, minlength=self.people))]).astype(
            np.int64
        )

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct pairs as person * items + item, ascending, int64 [G], and each interaction's among them, int64 [N].

        Sorted once: in one answer half a dozen parts ask for it.
        """
        return np.unique(self.person_N.astype(np.int64) * self.items + self.item_N, return_inverse=True)

    def where(self, mask_N: np.ndarray) -> "Interactions":
        """Return the interactions that the mask keeps; people and items stay numbered as they are."""
        return replace(
            self,
            person_N=self.person_N[mask_N],
            item_N=self.item_N[mask_N],
            time_N=self.time_N[mask_N],
            weight_N=self.weight_N[mask_N],
        )

    def between(self, start_us: int | None, end_us: int | None) -> "Interactions":
        """Return the interactions with start <= time < end; None leaves that side open."""
        mask_N = np.ones(len(self), bool)
        if start_us is not None:
            mask_N &= self.time_N >= start_us
        if end_us is not None:
            mask_N &= self.time_N < end_us
        return self.where(mask_N)

    def last(self, count: int) -> "Interactions":
        """Return each person's latest `count` interactions."""
        rank_N = np.repeat(self.indptr[1:], np.diff(self.indptr)) - np.arange(len(self))
        return self.where(rank_N <= count)

    def rows(self, people_R: np.ndarray) -> "Interactions":
        """Return the histories of these people as rows 0..R-1; -1 (nobody known) gives an empty row."""
        known_R = people_R >= 0
        start_R = np.where(known_R, self.indptr[np.maximum(people_R, 0)], 0)
        stop_R = np.where(known_R, self.indptr[np.maximum(people_R, 0) + 1], 0)
        count_R = stop_R - start_R
        index_N = spans(start_R, count_R)
        return Interactions(
            person_N=np.repeat(np.arange(len(people_R), dtype=np.int32), count_R),
            item_N=self.item_N[index_N],
            time_N=self.time_N[index_N],
            weight_N=self.weight_N[index_N],
            people=len(people_R),
            items=self.items,
        )

    def by_person(self) -> tuple[np.ndarray, ...]:
        """Return each person's distinct items, ascending."""
        bounds = zip(self.indptr, self.indptr[1:], strict=False)
        return tuple(np.unique(self.item_N[start:stop]) for start, stop in bounds)

    def matrix(self, value_N: np.ndarray | None = None) -> csr_matrix:
        """Return a float32 matrix [P, I]; several interactions with one item are added up (ones by default)."""
        data_N = np.ones(len(self), np.float32) if value_N is None else value_N.astype(np.float32)
        out = csr_matrix((data_N, (self.person_N, self.item_N)), shape=(self.people, self.items))
        out.sum_duplicates()
        return out


@dataclass(frozen=True, kw_only=True)
class Features:
    """Point-in-time features at one moment. Absent values are NaN.

    Pair rows are sorted by (person, item) and exist only for pairs with a history; row n of `pair_NF` belongs to person
    `pair_person_N[n]` and item `pair_item_N[n]`.
    """

    person_names: tuple[str, ...]
    item_names: tuple[str, ...]
    pair_names: tuple[str, ...]
    person_PF: np.ndarray  # float32
    item_IF: np.ndarray  # float32
    pair_person_N: np.ndarray  # int32
    pair_item_N: np.ndarray  # int32
    pair_NF: np.ndarray  # float32

    def item(self, name: str) -> np.ndarray:
        """Return one item feature, float32 [I]; KeyError when there is none of that name."""
        if name not in self.item_names:
            raise KeyError(f"no item feature {name!r}; there are {', '.join(self.item_names)}")
        return self.item_IF[:, self.item_names.index(name)]

    def pairs_with(self, item_K: np.ndarray) -> np.ndarray:
        """Return which rows of `pair_NF` are about these items, ascending; of one person's features only."""
        if not len(self.pair_item_N):
            return np.zeros(0, np.int64)
        at_K = np.minimum(np.searchsorted(self.pair_item_N, item_K), len(self.pair_item_N) - 1)
        return np.sort(at_K[self.pair_item_N[at_K] == item_K])

    def rows(self, people_R: np.ndarray) -> "Features":
        """Return the features of these people as rows 0..R-1; -1 gives NaN and no pairs."""
        known_R = people_R >= 0
        person_RF = np.full((len(people_R), self.person_PF.shape[1]), np.nan, np.float32)
        person_RF[known_R] = self.person_PF[people_R[known_R]]
        start_R = np.searchsorted(self.pair_person_N, people_R, "left")
        count_R = np.where(known_R, np.searchsorted(self.pair_person_N, people_R, "right") - start_R, 0)
        index_N = spans(start_R, count_R)
        return replace(
            self,
            person_PF=person_RF,
            pair_person_N=np.repeat(np.arange(len(people_R), dtype=np.int32), count_R),
            pair_item_N=self.pair_item_N[index_N],
            pair_NF=self.pair_NF[index_N],
        )


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the catalogue says of its items, one entry per item; empty text and NaN where nothing is said.

    `category_I` holds whole paths ("Dairy > Cheese"); `image_I` holds paths of picture files.
    """

    title_I: tuple[str, ...]
    text_I: tuple[str, ...]
    category_I: tuple[str, ...]
    brand_I: tuple[str, ...]
    image_I: tuple[str, ...]
    price_I: np.ndarray  # float32

    def __len__(self) -> int:
        return len(self.title_I)


def untimed(step: str) -> None:
    """Take no time of a model's step."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question to a model: rank items for these people, at this moment, from what was known before it.

    `history` has one row per asked person (empty for somebody unknown). `allowed_I` masks the catalogue;
    `exclude` holds, per row, items that must not be answered (None: nothing is left out). `content` describes the catalogue, the
    items that came after the fit too (None: nothing is known of them). `lap` is called by models of several steps, with the
    name of each when it ends, so that whoever asks can time them.
    """

    history: Interactions
    as_of_us: int
    features: Features
    allowed_I: np.ndarray | None = None  # bool
    exclude: tuple[np.ndarray, ...] | None = None
    content: Content | None = None
    lap: Callable[[str], None] = field(default=untimed, compare=False, repr=False)

    @property
    def people(self) -> int:
        """Number of rows, P."""
        return self.history.people

    @property
    def items(self) -> int:
        """Size of the catalogue, I."""
        return self.history.items

    def rows(self, rows_R: np.ndarray) -> "Query":
        """Return the question for these rows of it."""
        return replace(
            self,
            history=self.history.rows(rows_R),
            features=self.features.rows(rows_R),
            exclude=None if self.exclude is None else tuple(self.exclude[row] for row in rows_R),
        )

    def parts(self, size: int) -> Iterator["Query"]:
        """Yield the question in parts of at most `size` people, in order; all of it at once when it is as small."""
        if self.people <= size:
            yield self
            return
        for start in range(0, self.people, size):
            yield self.rows(np.arange(start, min(start + size, self.people)))


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """An answer: items best first, int32 [P, K], -1 where there are no more; scores float32 [P, K], -inf there.

    `sources` names retrievers; bit s of `source_PK` (uint8) says that retriever s proposed the item.
    """

    item_PK: np.ndarray
    score_PK: np.ndarray
    sources: tuple[str, ...]
    source_PK: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A question with its right answers, kept from learning: per row of the query what was taken, distinct items, never none."""

    query: Query
    truth: tuple[np.ndarray, ...]

    def at_most(self, people: int) -> "Trial":
        """Return the trial of so many of its people, evenly spread; itself when it has no more."""
        if self.query.people <= people:
            return self
        rows_R = np.unique(np.linspace(0, self.query.people - 1, people).astype(np.int64))
        return Trial(query=self.query.rows(rows_R), truth=tuple(self.truth[row] for row in rows_R))


class FeaturesByMoment(Mapping[int, Features]):
    """Features at ascending moments, read whenever one is asked for: each holds every person, and most families look at none.

    Whatever `read` reads from must stay where it is.
    """

    def __init__(self, moments_us: tuple[int, ...], read: Callable[[int], Features]) -> None:
        self._moments_us = moments_us
        self._read = read

    def __getitem__(self, moment_us: int) -> Features:
        if moment_us not in self._moments_us:
            raise KeyError(moment_us)
        return self._read(moment_us)

    def __iter__(self) -> Iterator[int]:
        return iter(self._moments_us)

    def __len__(self) -> int:
        return len(self._moments_us)


Inner = Literal["time", "last", "sessions"]


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What a family may learn from: interactions before `until_us`, and features at earlier cut-offs with their labels.

    `cutoffs` maps a moment c (ascending) to the features known at c; the labels are the `labels` in [c, c + horizon): by default
    the interactions themselves, else those of other kinds (what was bought, where people learn from what was viewed).
    The last moment + horizon never passes `until_us`. `features` are those at `until_us`, for scoring only.

    `validation` is a trial that is not among the interactions, for choosing by: who chooses by it does not learn from it. Where
    there is none, `inner` says how one is cut from the interactions (models/splits.py). Where `repeats` is false,
    nobody is asked for what they had already.
    """

    interactions: Interactions
    until_us: int
    horizon_us: int
    cutoffs: Mapping[int, Features]
    features: Features
    category_I: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))  # -1: none
    threads: int = 2
    history_cap: int = 1000
    other_labels: Interactions | None = None
    content: Content | None = None
    validation: Trial | None = None
    inner: Inner = "time"
    repeats: bool = True

    @property
    def labels(self) -> Interactions:
        """Interactions that count as success."""
        return self.interactions if self.other_labels is None else self.other_labels

    def known_at(self, cutoff_us: int) -> "TrainingSet":
        """Return what could be learned at a cut-off: nothing at or after it."""
        moments_us = tuple(moment for moment in self.cutoffs if moment < cutoff_us)
        return replace(
            self,
            interactions=self.interactions.between(None, cutoff_us),
            until_us=cutoff_us,
            cutoffs=FeaturesByMoment(moments_us, self.cutoffs.__getitem__),
            features=self.cutoffs[cutoff_us],
            other_labels=None if self.other_labels is None else self.other_labels.between(None, cutoff_us),
            validation=None,
        )

    def query(self, people_R: np.ndarray, at_us: int) -> Query:
        """Return the question that would have been asked for these people at `at_us` (a cut-off, or `until_us`)."""
        features = self.features if at_us == self.until_us else self.cutoffs[at_us]
        before = self.interactions.between(None, at_us).rows(people_R)
        return Query(
            history=before.last(self.history_cap),
            as_of_us=at_us,
            features=features.rows(people_R),
            exclude=None if self.repeats else before.by_person(),
            content=self.content,
        )
